create or replace function credits.notify(
  p_user_id uuid,
  p_type text,
  p_severity text,
  p_credit_type text,
  p_action_type text,
  p_title text,
  p_message text,
  p_details jsonb,
  p_now timestamptz
)
returns boolean
language plpgsql
volatile
as $$
declare
  -- Later is more telling.
  c_types constant text[] := '{reset,low_balance,exhausted,expiring_soon,deduction_failed,purchase}';
  v_superseded uuid[];
  v_notification credits.notifications;
begin
  if exists (
    select
    from credits.notifications n
    where n.user_id = p_user_id and n.read_at is null and n.statement_at = statement_timestamp()
      and (n.type, n.credit_type, n.action_type) <> (p_type, p_credit_type, p_action_type)
      and array_position(c_types, n.type) >= array_position(c_types, p_type))
  then
    return false;
  end if;
  with superseded as (
    delete from credits.notifications n
    where n.user_id = p_user_id and n.read_at is null and n.statement_at = statement_timestamp() and n.repeats = 1
      and (n.type, n.credit_type, n.action_type) <> (p_type, p_credit_type, p_action_type)
    returning n.notification_id
  )
  select array_agg(s.notification_id) into v_superseded from superseded s;
  if v_superseded is not null then
    delete from credits.webhook_deliveries d
    where d.user_id = p_user_id and d.notification_id = any (v_superseded);
  end if;

  insert into credits.notifications
    (user_id, type, severity, credit_type, action_type, title, message, details, created_at, updated_at)
  values
    (p_user_id, p_type, p_severity, p_credit_type, p_action_type, p_title, p_message, p_details, p_now, p_now)
  on conflict (user_id, type, credit_type, action_type) where read_at is null
  do update set
    title = excluded.title,
    message = excluded.message,
    details = excluded.details,
    repeats = notifications.repeats + 1,
    updated_at = excluded.updated_at,
    statement_at = excluded.statement_at
  returning * into v_notification;
  -- Purchases have events of their own.
  if p_type <> 'purchase' then
    perform credits.emit_notification(v_notification, p_now);
  end if;
  return true;
end
$$;

comment on function credits.notify(uuid, text, text, text, text, text, text, jsonb, timestamptz) is
  'Internal. Tells a user something: a new notification, or one more repeat of the unread one of the same type, credit type and action. '
  'Of what one statement of the client has to tell a user, only the most telling stays; false if that is something else. '
  'Called under the wallet''s lock where there is a wallet, which serialises the writers of one user; the caller moves change_no.';

create or replace function credits.read_notifications(
  p_user_id uuid,
  p_notification_id uuid default null
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz;
  v_read integer;
  v_credit_types text[];
begin
  perform credits.check_argument(p_user_id is not null, 'p_user_id', 'must not be null');
  -- Whoever tells something holds the wallet first and the notification second.
  v_now := credits.lock_wallets(p_user_id);
  with marked as (
    update credits.notifications n
    set read_at = v_now,
      change_no = coalesce((select w.change_no + 1 from credits.wallets w where w.user_id = p_user_id and w.credit_type = n.credit_type), 0)
    where n.user_id = p_user_id and n.notification_id = coalesce(p_notification_id, n.notification_id) and n.read_at is null
    returning n.credit_type
  )
  select count(*), array_agg(distinct m.credit_type) into v_read, v_credit_types from marked m;
  if v_read > 0 then
    update credits.wallets w
    set change_no = w.change_no + 1
    where w.user_id = p_user_id and w.credit_type = any (v_credit_types);
  elsif p_notification_id is not null
    and not exists (select from credits.notifications n where n.user_id = p_user_id and n.notification_id = p_notification_id)
  then
    return credits.outcome('not_found', jsonb_build_object('notification_id', p_notification_id));
  end if;
  return credits.outcome('ok', jsonb_build_object('read', v_read));
end
$$;

comment on function credits.read_notifications(uuid, uuid) is
  'Marks a notification of a user as read, or (null) all of them. What happens again after that is a new notification instead of one more repeat. Returns code '
  'ok or not_found, and how many became read just now. Locks all wallets of the user, then the notifications. Raises UC001 for a null user.';

create or replace function credits.emit_event(
  p_user_id uuid,
  p_type text,
  p_data jsonb,
  p_at timestamptz,
  p_notification_id uuid default null
)
returns void
language plpgsql
volatile
as $$
declare
  v_event_id uuid := gen_random_uuid();
begin
  insert into credits.webhook_deliveries
    (user_id, delivery_id, endpoint_id, event_id, type, notification_id, data, created_at, moment_no, pending_since, next_attempt_at)
  select p_user_id, gen_random_uuid(), e.endpoint_id, v_event_id, p_type, p_notification_id, p_data, p_at, (
      select coalesce(max(d.moment_no), 0) + 1
      from credits.webhook_deliveries d
      where d.user_id = p_user_id and d.status = 'pending' and d.created_at = p_at),
    p_at, p_at
  from credits.webhook_endpoints e
  where e.is_active and e.events && array['*', split_part(p_type, '.', 1) || '.*', p_type]
    -- A summary that was not sent yet will tell this too.
    and (p_notification_id is null or not exists (
      select from credits.webhook_deliveries d
      where d.user_id = p_user_id and d.notification_id = p_notification_id and d.endpoint_id = e.endpoint_id and d.status = 'pending' and d.data is null));
end
$$;

comment on function credits.emit_event(uuid, text, jsonb, timestamptz, uuid) is
  'Internal. Writes an event of a user for every endpoint that wants it; nothing if there is none. p_at is the moment of the event, and the earliest of its delivery. '
  'Called under the lock of the wallet that it is about, whose events so keep its order; locks nothing itself.';

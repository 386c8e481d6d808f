create or replace function credits.emit_notification(
  p_notification credits.notifications,
  p_now timestamptz
)
returns void
language plpgsql
volatile
as $$
declare
  -- How often the repeats of one unread notification are told.
  c_interval constant interval := '1 hour';
  v_told_at timestamptz;
  v_at timestamptz;
begin
  if p_notification.repeats > 1 then
    if not exists (select from credits.webhook_endpoints e where e.is_active) then
      return;
    end if;
    select max(d.created_at) into v_told_at
    from credits.webhook_deliveries d
    where d.user_id = p_notification.user_id and d.notification_id = p_notification.notification_id;
    -- A summary is on its way, and will count this one too.
    if v_told_at > p_now then
      return;
    end if;
  end if;
  v_at := greatest(p_now, v_told_at + c_interval);
  perform credits.emit_event(p_notification.user_id, 'notification.' || p_notification.type,
    case when v_at = p_now then credits.notification_data(p_notification) end, v_at, p_notification.notification_id);
end
$$;

comment on function credits.emit_notification(credits.notifications, timestamptz) is
  'Internal. The event of a notification that was just told. The first is sent at once; repeats of the unread one at once too if the last event of it is an hour old, and else together, in one '
  'summary when that hour is over, which a retry loop can not make more.';

create or replace function credits.notification_data(p_notification credits.notifications)
returns jsonb
language plpgsql
stable
as $$
begin
  return jsonb_build_object(
    'notification_id', p_notification.notification_id,
    'severity', p_notification.severity,
    'credit_type', p_notification.credit_type,
    'action_type', nullif(p_notification.action_type, ''),
    'title', p_notification.title,
    'message', p_notification.message,
    'details', p_notification.details,
    'repeats', p_notification.repeats);
end
$$;

comment on function credits.notification_data(credits.notifications) is
  'Internal. What an event says of a notification.';

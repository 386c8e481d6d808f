create or replace function credits.raise_alert(
  p_user_id uuid,
  p_kind text,
  p_credit_type text,
  p_subject text,
  p_details jsonb,
  p_now timestamptz
)
returns jsonb
language plpgsql
volatile
as $$
declare
  v_id uuid := credits.uuid_v5(p_user_id, concat_ws(' ', p_kind, p_credit_type, p_subject));
  v_alert credits.alerts;
  v_is_new boolean := true;
begin
  select a.* into v_alert from credits.alerts a where a.user_id = p_user_id and a.alert_id = v_id;
  if not found then
    insert into credits.alerts (user_id, alert_id, kind, credit_type, subject, details, raised_at)
    values (p_user_id, v_id, p_kind, p_credit_type, p_subject, p_details, p_now);
  elsif v_alert.closed_at is not null and p_kind in ('discrepancy', 'attachment') then
    update credits.alerts a
    set details = p_details, repeats = a.repeats + 1, raised_at = p_now, closed_at = null, acknowledged_at = null, acknowledged_by = null, note = null
    where a.user_id = p_user_id and a.alert_id = v_id;
  else
    update credits.alerts a
    set details = p_details
    where a.user_id = p_user_id and a.alert_id = v_id and a.details <> p_details;
    v_is_new := false;
  end if;
  return jsonb_build_object('user_id', p_user_id, 'alert_id', v_id, 'kind', p_kind, 'credit_type', p_credit_type, 'subject', p_subject,
    'details', p_details, 'is_new', v_is_new);
end
$$;

comment on function credits.raise_alert(uuid, text, text, text, jsonb, timestamptz) is
  'Internal. Raises an alert, opens it again if it was closed because it was gone, or renews the details of one that is known. Returns it, and is_new, whether it was raised just now. The caller holds the lock of the '
  'job (begin_sweep) that raises alerts of this kind, so that nobody else does.';

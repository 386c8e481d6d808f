create or replace function credits.notify_decline(
  p_user_id uuid,
  p_credit_type text,
  p_action_type text,
  p_code text,
  p_required numeric,
  p_available numeric,
  p_rows integer,
  p_now timestamptz
)
returns void
language plpgsql
volatile
as $$
declare
  v_action_name text := coalesce(
    (select c.action_name from credits.credit_costs c where c.action_type = p_action_type), p_action_type);
  v_credits text := replace(p_credit_type, '_', ' ');
  v_message text := case p_code
    when 'insufficient_credits' then format('%s needs %s %s; %s available.',
      v_action_name, trim_scale(p_required), case when p_required = 1 then regexp_replace(v_credits, 's$', '') else v_credits end, trim_scale(p_available))
    else format('%s could not be charged. %s', v_action_name, credits.outcome(p_code, '{}') ->> 'error')
  end;
  v_details jsonb := jsonb_build_object(
    'code', p_code, 'action_type', p_action_type, 'required', trim_scale(p_required), 'available', trim_scale(p_available), 'rows', p_rows);
begin
  perform credits.notify(p_user_id, 'deduction_failed', 'warning', p_credit_type, p_action_type,
    case p_code when 'insufficient_credits' then format('Not enough %s', v_credits) else 'Charge failed' end, v_message, v_details, p_now);

  -- A notification counts for as long as it is unread; find_anomalies() wants hours.
  insert into credits.decline_counts as d (user_id, credit_type, hour, declines)
  values (p_user_id, p_credit_type, date_trunc('hour', p_now, 'UTC'), p_rows)
  on conflict (user_id, credit_type, hour) do update set declines = d.declines + excluded.declines;
end
$$;

comment on function credits.notify_decline(uuid, text, text, text, numeric, numeric, integer, timestamptz) is
  'Internal. Tells the user of a charge that failed, and counts it.';

create or replace function credits.deduct_call_credits(
  p_user_id uuid,
  p_call_id uuid,
  p_duration_seconds integer,
  p_cost_breakdown jsonb default '{}'
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_minutes integer;
  v_result jsonb;
begin
  perform credits.check_argument(p_user_id is not null, 'p_user_id', 'must not be null');
  perform credits.check_argument(p_call_id is not null, 'p_call_id', 'must not be null');
  perform credits.check_argument(p_duration_seconds > 0, 'p_duration_seconds', 'must be greater than zero');
  p_cost_breakdown := coalesce(p_cost_breakdown, '{}');
  perform credits.check_argument(jsonb_typeof(p_cost_breakdown) = 'object', 'p_cost_breakdown', 'must be a JSON object');
  perform credits.check_argument(octet_length(p_cost_breakdown::text) <= 16384, 'p_cost_breakdown', 'must be at most 16 KB');
  v_minutes := ceil(p_duration_seconds / 60.0);
  v_result := credits.charge(p_user_id, 'agent_call_runtime', v_minutes, null, '{}', 'public.calls', p_call_id::text,
    p_duration_seconds, p_cost_breakdown);
  if v_result @> '{"success": true, "replayed": false}' then
    perform credits.book_minutes(p_user_id, v_minutes);
    perform credits.unlist_uncharged(p_user_id, 'public.calls', array[p_call_id::text]);
  end if;
  return v_result;
end
$$;

comment on function credits.deduct_call_credits(uuid, uuid, integer, jsonb) is
  'Charges a call by its started minutes at the price of agent_call_runtime and adds them to total_minutes_used of the account. A call is charged '
  'once, whether here or by the trigger on public.calls: whatever comes later returns the first charge with replayed true. Returns what '
  'deduct_credits_for_action returns; a replay is read from the ledger and lacks available. Locks the wallet row, then the account row. Raises UC001 '
  'for null ids, and for seconds that are null, zero or negative.';

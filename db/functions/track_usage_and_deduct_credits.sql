create or replace function credits.track_usage_and_deduct_credits(
  p_user_id uuid,
  p_operation text,
  p_usage jsonb,
  p_idempotency_key text default null
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_cost credits.credit_costs;
  v_wallet credits.wallets;
  v_now timestamptz;
  v_attempt_id uuid;
  v_first_action text;
  v_is_new boolean;
begin
  perform credits.check_argument(p_user_id is not null, 'p_user_id', 'must not be null');
  perform credits.check_argument(length(p_operation) between 1 and 100, 'p_operation', 'must have 1 to 100 characters');
  perform credits.check_usage(p_usage);
  perform credits.check_texts('{}', p_idempotency_key);
  if (p_usage -> 'success')::boolean then
    return credits.deduct_credits_for_action(p_user_id, p_operation, 1, null, p_usage, p_idempotency_key);
  end if;

  v_cost := credits.cost_of(p_operation);
  v_wallet := credits.lock_wallet(p_user_id, v_cost.credit_type);
  if v_wallet.user_id is null or v_cost.cost_per_unit is null then
    return credits.outcome(case when v_cost.cost_per_unit is null then 'unknown_action' else 'unknown_account' end,
      jsonb_build_object('action_type', p_operation, 'action_name', v_cost.action_name));
  end if;
  v_now := greatest(credits.clock_now(), v_wallet.last_entry_at);
  v_wallet := credits.apply_due(v_wallet, v_now);

  -- The key makes the id, so the primary key sees to it that a repeated report is stored once.
  v_attempt_id := case when p_idempotency_key is null then gen_random_uuid() else credits.uuid_v5(p_user_id, p_idempotency_key) end;
  insert into credits.usage_attempts
    (user_id, attempt_id, action_type, service, tokens_used, response_time_ms, occurred_at, metadata, created_at)
  values
    (p_user_id, v_attempt_id, p_operation, p_usage ->> 'service', (p_usage ->> 'tokensUsed')::numeric, (p_usage ->> 'responseTime')::numeric,
      credits.iso_timestamp(p_usage ->> 'timestamp'), coalesce(nullif(p_usage -> 'metadata', 'null'), '{}'), v_now)
  on conflict (user_id, attempt_id) do nothing;
  v_is_new := found;
  if v_is_new then
    v_wallet.change_no := v_wallet.change_no + 1;
    perform credits.finish_operation(v_wallet, v_now);
  else
    select t.action_type into v_first_action
    from credits.usage_attempts t
    where t.user_id = p_user_id and t.attempt_id = v_attempt_id;
    if v_first_action <> p_operation then
      perform credits.fail('UC201', 'the idempotency key was used for another request', jsonb_build_object(
        'code', 'key_reused', 'key', p_idempotency_key, 'first_request', v_first_action, 'this_request', p_operation));
    end if;
    perform credits.finish_unchanged(v_wallet, v_now);
  end if;
  return credits.outcome('ok', jsonb_build_object(
    'action_type', p_operation,
    'action_name', v_cost.action_name,
    'credits_deducted', 0,
    'recorded', 'attempt',
    'attempt_id', v_attempt_id,
    'replayed', not v_is_new));
end
$$;

comment on function credits.track_usage_and_deduct_credits(uuid, text, jsonb, text) is
  'Reports an operation that was carried out, and charges it if it succeeded. p_usage: success (required, true or false), service (text), '
  'tokensUsed, responseTime (milliseconds; numbers from 0), timestamp (ISO 8601 with offset), metadata (object); no other fields. If success, this '
  'is deduct_credits_for_action for one unit, with p_usage as the entry''s metadata, and returns what that returns. If not, nothing is charged: the '
  'report is kept in usage_attempts, and the outcome has credits_deducted 0, recorded ''attempt'', attempt_id and replayed; code ok, unknown_action '
  'or unknown_account. With an idempotency key a repeated report (the same operation, whatever p_usage says) is charged or kept once, and the same '
  'key can still charge once when a later try succeeds. Locks the wallet row. Raises UC001 for malformed arguments (p_usage.<field>), UC201 for a '
  'key used for another operation.';

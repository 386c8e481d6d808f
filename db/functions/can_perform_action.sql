create or replace function credits.can_perform_action(
  p_user_id uuid,
  p_action_type text,
  p_quantity numeric default 1
)
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_cost credits.credit_costs;
  v_account credits.accounts;
  v_needed numeric;
  v_remaining numeric;
  v_terms record;
  v_code text;
begin
  perform credits.check_argument(p_user_id is not null, 'p_user_id', 'must not be null');
  perform credits.check_argument(length(p_action_type) between 1 and 100, 'p_action_type', 'must have 1 to 100 characters');
  perform credits.check_amount('p_quantity', p_quantity);

  select c.* into v_cost from credits.credit_costs c where c.action_type = p_action_type;
  select a.* into v_account from credits.accounts a where a.user_id = p_user_id;
  v_terms := credits.plan_terms(p_user_id, v_cost, greatest(credits.clock_now(), (
    select w.last_entry_at from credits.wallets w where w.user_id = p_user_id and w.credit_type = v_cost.credit_type)));
  v_cost := v_terms.p_cost;
  v_needed := credits.price_of(v_cost.cost_per_unit, p_quantity);
  v_remaining := (credits.get_credit_balance(p_user_id, coalesce(v_cost.credit_type, 'credits')) ->> 'total')::numeric;
  v_code := case
    when v_cost.action_type is null then 'unknown_action'
    when v_account.user_id is null then 'unknown_account'
    when v_account.status <> 'active' then 'account_suspended'
    when not v_cost.is_active then 'inactive_action'
    when v_terms.used + p_quantity > v_terms.limit_quantity then 'limit_reached'
    when v_remaining < v_needed then 'insufficient_credits'
    else 'ok'
  end;
  return jsonb_build_object(
    'can_perform', v_code = 'ok',
    'code', v_code,
    'reason', credits.outcome(v_code, '{}') ->> 'error',
    'credits_needed', trim_scale(v_needed),
    'credits_remaining', case when not v_terms.is_unlimited then v_remaining end,
    'credits_missing', trim_scale(greatest(v_needed - v_remaining, 0)),
    'limit', trim_scale(v_terms.limit_quantity),
    'limit_used', trim_scale(v_terms.used),
    'account_level', v_account.plan_id);
end
$$;

comment on function credits.can_perform_action(uuid, text, numeric) is
  'Whether deduct_credits_for_action would succeed at this moment: can_perform, code, reason (a sentence, null if it would), credits_needed, '
  'credits_remaining (null where the plan is unlimited), credits_missing, limit and limit_used (priced units, where the plan limits the action), '
  'account_level (the plan). A forecast, not a hold: only the deduction decides. Reads only and locks nothing. '
  'Raises UC001 for malformed arguments.';

create or replace function credits.decline(
  p_wallet credits.wallets,
  p_cost credits.credit_costs,
  p_action_type text,
  p_quantity numeric,
  p_amount numeric,
  p_limit_quantity numeric,
  p_limit_period text,
  p_used numeric,
  p_now timestamptz
)
returns jsonb
language plpgsql
volatile
as $$
declare
  v_available numeric := p_wallet.balance + p_wallet.debt;
  v_code text := case
    when p_cost.cost_per_unit is null then 'unknown_action'
    when p_wallet.user_id is null then 'unknown_account'
    when not p_wallet.is_active then 'account_suspended'
    when not p_cost.is_active then 'inactive_action'
    when p_used + p_quantity > p_limit_quantity then 'limit_reached'
    when v_available < p_amount then 'insufficient_credits'
  end;
begin
  if v_code is null then
    return null;
  end if;
  if p_wallet.user_id is not null then
    perform credits.notify_decline(p_wallet.user_id, p_cost.credit_type, p_action_type, v_code, p_amount, v_available, 1, p_now);
    p_wallet.change_no := p_wallet.change_no + 1;
    perform credits.finish_operation(p_wallet, p_now);
  end if;
  return credits.outcome(v_code, jsonb_build_object('action_type', p_action_type, 'action_name', p_cost.action_name,
      'required', trim_scale(p_amount), 'available', trim_scale(v_available))
    || case v_code when 'limit_reached' then jsonb_build_object('limit', trim_scale(p_limit_quantity), 'used', trim_scale(p_used),
      'limit_period', p_limit_period) else '{}' end);
end
$$;

comment on function credits.decline(credits.wallets, credits.credit_costs, text, numeric, numeric, numeric, text, numeric, timestamptz) is
  'Internal. Why an amount cannot be charged or held, as the outcome to return, with the user told and the wallet saved; null if it can. The caller holds '
  'the wallet''s lock and has applied what was due.';

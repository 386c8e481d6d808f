create or replace function credits.chat_outcome(
  p_wallet credits.wallets,
  p_session credits.chat_sessions,
  p_credits_charged numeric,
  p_now timestamptz
)
returns jsonb
language plpgsql
stable
as $$
declare
  v_cost credits.credit_costs := credits.cost_of(p_session.action_type);
  v_terms record;
  v_spendable numeric := p_wallet.balance + p_wallet.debt;
  v_interval integer := coalesce(p_session.interval_seconds, v_cost.unit_seconds, 1);
  v_paid_seconds integer := greatest(p_session.elapsed_seconds - p_session.free_seconds, 0);
  v_uncharged bigint := v_paid_seconds / v_interval - p_session.charged_intervals;
  v_affordable numeric := 0;
  v_free_left integer := greatest(p_session.free_seconds - p_session.elapsed_seconds, 0);
  v_seconds_left numeric;
  v_code text;
begin
  v_terms := credits.plan_terms(p_session.user_id, v_cost, p_now);
  v_code := case
    when v_uncharged = 0 then 'ok'
    when v_cost.cost_per_unit is null or v_cost.unit_seconds is null and p_session.rate is null then 'unknown_action'
    when p_wallet.user_id is null then 'unknown_account'
    when not p_wallet.is_active then 'account_suspended'
    when not v_cost.is_active then 'inactive_action'
    when v_terms.limit_quantity - v_terms.used < 1 then 'limit_reached'
    else 'insufficient_credits'
  end;
  -- Null for as many as one likes.
  if p_wallet.is_active and v_cost.is_active and p_session.rate is not null then
    v_affordable := greatest(least(case when p_session.rate > 0 then div(v_spendable, p_session.rate) end,
      floor(v_terms.limit_quantity - v_terms.used)), 0);
    if p_session.rate = 0 and v_terms.limit_quantity is null then
      v_affordable := null;
    end if;
  end if;
  v_seconds_left := case when v_uncharged > 0 then 0
    else v_free_left + greatest(v_affordable * v_interval - (v_paid_seconds - p_session.charged_intervals * v_interval), 0) end;
  if v_uncharged = 0 and v_affordable is null then
    v_seconds_left := null;
  end if;

  return credits.outcome(v_code, jsonb_build_object(
    'session_id', p_session.session_id,
    'action_type', p_session.action_type,
    'action_name', v_cost.action_name,
    'advice', case when v_code <> 'ok' or v_seconds_left = 0 then 'stop' when v_seconds_left < 60 then 'warn' else 'continue' end,
    'rate', trim_scale(p_session.rate),
    'interval_seconds', p_session.interval_seconds,
    'elapsed_seconds', p_session.elapsed_seconds,
    'free_seconds_left', v_free_left,
    'credits_charged', trim_scale(p_credits_charged),
    'credits_used', trim_scale(p_session.credits_used),
    'credits_owed', trim_scale(p_session.credits_owed),
    'available', trim_scale(v_spendable),
    'seconds_left', v_seconds_left,
    'balance_after', trim_scale(p_wallet.balance)));
end
$$;

comment on function credits.chat_outcome(credits.wallets, credits.chat_sessions, numeric, timestamptz) is
  'Internal. Where a chat session stands: whether all its whole intervals are charged and, if not, why (code), for how many seconds the free time '
  'and the credits still do (null for ever), and what to advise.';

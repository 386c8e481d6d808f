create or replace function credits.price_chat_session(
  p_session credits.chat_sessions,
  p_wallet credits.wallets,
  p_now timestamptz
)
returns credits.chat_sessions
language plpgsql
stable
as $$
declare
  v_cost credits.credit_costs;
  v_terms record;
begin
  if p_session.rate is not null or p_wallet.user_id is null then
    return p_session;
  end if;
  v_cost := credits.cost_of(p_session.action_type);
  if v_cost.is_active and v_cost.unit_seconds is not null and v_cost.credit_type = p_wallet.credit_type then
    v_terms := credits.plan_terms(p_session.user_id, v_cost, p_now);
    p_session.rate := (v_terms.p_cost).cost_per_unit;
    p_session.credit_type := v_cost.credit_type;
    p_session.interval_seconds := v_cost.unit_seconds;
  end if;
  return p_session;
end
$$;

comment on function credits.price_chat_session(credits.chat_sessions, credits.wallets, timestamptz) is
  'Internal. Pins the price of a session that has none yet: that of the user''s plan, if the account exists and the price is active and by time. '
  'The caller holds the wallet''s lock and saves the returned session.';

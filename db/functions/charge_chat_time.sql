create or replace function credits.charge_chat_time(
  p_wallet credits.wallets,
  p_session_id uuid,
  p_action_type text,
  p_rate numeric,
  p_intervals bigint,
  p_limit_period text,
  p_limit_period_no integer,
  p_now timestamptz
)
returns credits.wallets
language plpgsql
volatile
as $$
declare
  v_amount numeric := p_rate * p_intervals;
  v_drawn record;
  v_entry credits.credit_ledger;
begin
  v_drawn := credits.draw_grants(p_wallet, v_amount);
  v_entry.action_type := p_action_type;
  v_entry.unit_price := p_rate;
  v_entry.quantity := p_intervals;
  v_entry.reference_id := p_session_id;
  -- Anybody may refer to a session's id; this tells the session's own entries.
  v_entry.reference := 'chat session';
  v_entry.counted_in := credits.count_use(p_wallet.user_id, p_action_type, p_limit_period, p_limit_period_no, p_intervals);
  p_wallet := credits.add_entry(v_drawn.p_wallet, p_now, 'usage', -v_amount, v_drawn.grant_no, v_drawn.allocations, v_entry);
  p_wallet.owed := p_wallet.owed - v_amount;
  update credits.chat_sessions s
  set charged_intervals = s.charged_intervals + p_intervals,
    credits_used = s.credits_used + v_amount,
    credits_owed = s.credits_owed - v_amount,
    updated_at = greatest(s.updated_at, p_now)
  where s.user_id = p_wallet.user_id and s.session_id = p_session_id;
  return p_wallet;
end
$$;

comment on function credits.charge_chat_time(credits.wallets, uuid, text, numeric, bigint, text, integer, timestamptz) is
  'Internal. Charges owed intervals of a session: the amount that leaves the wallet is added to credits_used in the same step. The caller has '
  'seen that the wallet covers it, holds its lock and saves the returned wallet.';

create or replace function credits.charge(
  p_user_id uuid,
  p_action_type text,
  p_quantity numeric,
  p_reference_id uuid,
  p_metadata jsonb,
  p_key_source text,
  p_key text,
  p_duration_seconds integer default null,
  p_cost_breakdown jsonb default null
)
returns jsonb
language plpgsql
volatile
as $$
declare
  v_cost credits.credit_costs := credits.cost_of(p_action_type);
  v_terms record;
  v_amount numeric;
  v_wallet credits.wallets;
  v_now timestamptz;
  v_key credits.charge_keys;
  v_fingerprint text;
  v_drawn record;
  v_entry credits.credit_ledger;
  v_result jsonb;
begin
  v_wallet := credits.lock_wallet(p_user_id, v_cost.credit_type);
  v_now := greatest(credits.clock_now(), v_wallet.last_entry_at);

  if p_key is not null then
    v_fingerprint := case p_key_source when 'caller' then credits.charge_fingerprint(p_action_type, p_quantity, p_reference_id) end;
    v_key := credits.find_key(p_user_id, v_cost.credit_type, p_key_source, p_key, v_now);
    if v_key.key is not null then
      return credits.replay_key(v_key, v_fingerprint);
    end if;
  end if;

  if v_wallet.next_due_at <= v_now then
    v_wallet := credits.apply_due(v_wallet, v_now);
  end if;
  v_terms := credits.plan_terms(p_user_id, v_cost, v_now);
  v_cost := v_terms.p_cost;
  v_amount := credits.price_of(v_cost.cost_per_unit, p_quantity);
  v_result := credits.decline(v_wallet, v_cost, p_action_type, p_quantity, v_amount, v_terms.limit_quantity, v_terms.limit_period, v_terms.used, v_now);
  if v_result is not null then
    return v_result;
  end if;

  v_drawn := credits.draw_grants(v_wallet, v_amount);
  v_entry.action_type := p_action_type;
  v_entry.unit_price := v_cost.cost_per_unit;
  v_entry.quantity := p_quantity;
  if p_key_source <> 'caller' then
    v_entry.row_source := p_key_source;
    v_entry.row_id := p_key;
  elsif p_key is not null and v_wallet.debt = 0 then
    perform credits.take_key(p_user_id, v_cost.credit_type, p_key, v_now);
    v_entry.idempotency_key := p_key;
  end if;
  v_entry.reference_id := p_reference_id;
  v_entry.duration_seconds := p_duration_seconds;
  v_entry.cost_breakdown := p_cost_breakdown;
  v_entry.metadata := p_metadata;
  v_entry.counted_in := credits.count_use(p_user_id, p_action_type, v_terms.limit_period, v_terms.limit_period_no, p_quantity);
  v_wallet := credits.add_entry(v_drawn.p_wallet, v_now, 'usage', -v_amount, v_drawn.grant_no, v_drawn.allocations, v_entry);
  perform credits.finish_operation(v_wallet, v_now);
  v_result := credits.charged(p_action_type, v_cost.action_name, trim_scale(v_amount), v_wallet.balance, v_wallet.debt,
    v_wallet.entry_no);
  -- Where there is debt, the entry alone does not tell what was answered.
  if p_key_source = 'caller' and p_key is not null and v_entry.idempotency_key is null then
    perform credits.remember_key(p_user_id, v_cost.credit_type, p_key, 'deduct_credits_for_action', v_fingerprint, v_wallet.entry_no, v_result, v_now);
  end if;
  return v_result;
end
$$;

comment on function credits.charge(uuid, text, numeric, uuid, jsonb, text, text, integer, jsonb) is
  'Internal. One charge by a direct caller, with an idempotency key (source caller), a row''s identity (any other source) or neither. '
  'Locks the wallet row FOR NO KEY UPDATE; key and grants are read in later statements, so of two callers the second sees all that the first '
  'one did, or fails with 40001 at REPEATABLE READ, as the first has updated the row. The price is that of the moment when the call began. '
  'Declines are returned, never raised.';

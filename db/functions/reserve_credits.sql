create or replace function credits.reserve_credits(
  p_user_id uuid,
  p_action_type text,
  p_quantity numeric default 1,
  p_ttl interval default '15 minutes',
  p_metadata jsonb default '{}',
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
  v_terms record;
  v_amount numeric;
  v_wallet credits.wallets;
  v_now timestamptz;
  v_key credits.charge_keys;
  v_fingerprint text;
  v_drawn record;
  v_allocations jsonb;
  v_entry credits.credit_ledger;
  v_reservation_id uuid := gen_random_uuid();
  v_result jsonb;
begin
  p_metadata := coalesce(p_metadata, '{}');
  perform credits.check_argument(p_user_id is not null, 'p_user_id', 'must not be null');
  perform credits.check_argument(length(p_action_type) between 1 and 100, 'p_action_type', 'must have 1 to 100 characters');
  perform credits.check_amount('p_quantity', p_quantity);
  perform credits.check_argument(p_ttl > interval '0' and p_ttl <= interval '30 days', 'p_ttl', 'must be above 0 and at most 30 days');
  -- As long as it was checked to be, whatever month it is and whatever the session's time zone.
  p_ttl := make_interval(secs => extract(epoch from p_ttl));
  perform credits.check_texts(p_metadata, p_idempotency_key);

  v_cost := credits.cost_of(p_action_type);
  v_wallet := credits.lock_wallet(p_user_id, v_cost.credit_type);
  v_now := greatest(credits.clock_now(), v_wallet.last_entry_at);
  if p_idempotency_key is not null then
    v_fingerprint := jsonb_build_array('reserve_credits', p_action_type, trim_scale(p_quantity), extract(epoch from p_ttl))::text;
    v_key := credits.find_key(p_user_id, v_cost.credit_type, 'caller', p_idempotency_key, v_now);
    if v_key.key is not null then
      return credits.replay_key(v_key, v_fingerprint);
    end if;
  end if;

  if v_wallet.user_id is not null then
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
  v_wallet := v_drawn.p_wallet;
  v_entry.user_id := p_user_id;
  v_entry.credit_type := v_cost.credit_type;
  v_entry.amount := v_amount;
  v_entry.grant_no := v_drawn.grant_no;
  v_entry.allocations := v_drawn.allocations;
  v_allocations := credits.allocations_of(v_entry);
  v_entry.action_type := p_action_type;
  v_entry.unit_price := v_cost.cost_per_unit;
  v_entry.quantity := p_quantity;
  v_entry.reference_id := v_reservation_id;
  v_entry.metadata := p_metadata;
  v_wallet := credits.add_entry(v_wallet, v_now, 'hold', -v_amount, null, v_allocations, v_entry);
  v_wallet.held := v_wallet.held + v_amount;
  v_wallet.next_due_at := least(v_wallet.next_due_at, v_now + p_ttl);
  insert into credits.credit_reservations
    (user_id, reservation_id, credit_type, action_type, unit_price, quantity, amount, allocations, limit_period, limit_period_no,
      created_at, expires_at, hold_entry_no, metadata)
  values
    (p_user_id, v_reservation_id, v_cost.credit_type, p_action_type, v_cost.cost_per_unit, p_quantity, v_amount, v_allocations,
      v_terms.limit_period, v_terms.limit_period_no, v_now, v_now + p_ttl, v_wallet.entry_no, p_metadata);
  perform credits.count_use(p_user_id, p_action_type, v_terms.limit_period, v_terms.limit_period_no, p_quantity);
  perform credits.finish_operation(v_wallet, v_now);

  v_result := credits.outcome('ok', jsonb_build_object(
    'reservation_id', v_reservation_id,
    'action_type', p_action_type,
    'action_name', v_cost.action_name,
    'quantity', trim_scale(p_quantity),
    'credits_held', trim_scale(v_amount),
    'expires_at', v_now + p_ttl,
    'balance_before', trim_scale(v_wallet.balance + v_amount),
    'balance_after', trim_scale(v_wallet.balance),
    'log_id', v_wallet.entry_no,
    'replayed', false));
  if p_idempotency_key is not null then
    perform credits.remember_key(p_user_id, v_cost.credit_type, p_idempotency_key, 'reserve_credits', v_fingerprint,
      v_wallet.entry_no, v_result, v_now);
  end if;
  return v_result;
end
$$;

comment on function credits.reserve_credits(uuid, text, numeric, interval, jsonb, text) is
  'Holds the price of an action for work that is about to start: the credits leave what can be spent at once, at today''s price, until the hold is '
  'committed, released, or lapses after p_ttl (up to 30 days) and gives them back. Returns code ok, reservation_id, action_type, action_name, '
  'quantity, credits_held, expires_at, balance_before, balance_after, log_id (the hold''s entry) and replayed; a decline is that of '
  'deduct_credits_for_action. With an idempotency key the same request (action, quantity and p_ttl; not the metadata) holds once in 30 days and then '
  'returns the first result, also when the hold has ended since: credit_reservations.status tells. Locks the wallet row. Raises UC001 for malformed '
  'arguments, UC201 for a key used for another request.';

create or replace function credits.commit_reservation(
  p_user_id uuid,
  p_reservation_id uuid,
  p_quantity numeric default null,
  p_metadata jsonb default '{}'
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_locked record;
  v_wallet credits.wallets;
  v_reservation credits.credit_reservations;
  v_now timestamptz;
  v_cost credits.credit_costs;
  v_terms record;
  v_quantity numeric;
  v_amount numeric;
  v_held numeric;
  v_held_quantity numeric;
  v_rest numeric;
  v_part record;
  v_drawn record;
  v_code text;
  v_allocations jsonb := '[]';
  v_surplus jsonb := '[]';
  v_returned record;
  v_entry credits.credit_ledger;
  v_result jsonb;
begin
  p_metadata := coalesce(p_metadata, '{}');
  if p_quantity is not null then
    perform credits.check_amount('p_quantity', p_quantity);
  end if;
  perform credits.check_texts(p_metadata, null);
  v_locked := credits.lock_reservation(p_user_id, p_reservation_id);
  v_wallet := v_locked.wallet;
  v_reservation := v_locked.reservation;
  v_now := v_locked.now;
  if v_reservation.user_id is null then
    return credits.outcome('not_found', jsonb_build_object('reservation_id', p_reservation_id));
  end if;
  perform credits.check_texts(v_reservation.metadata || p_metadata, null);
  v_quantity := coalesce(p_quantity, v_reservation.quantity);
  if v_reservation.status = 'released'
    or (v_reservation.status = 'committed' and (v_reservation.result ->> 'quantity')::numeric <> v_quantity)
  then
    perform credits.fail('UC312', 'the reservation is settled otherwise', jsonb_build_object('code', 'reservation_settled',
      'reservation_id', p_reservation_id, 'status', v_reservation.status, 'quantity', v_reservation.result -> 'quantity'));
  elsif v_reservation.status = 'committed' then
    perform credits.finish_unchanged(v_wallet, v_now);
    return v_reservation.result || '{"replayed": true}';
  end if;

  v_cost := credits.cost_of(v_reservation.action_type);
  v_terms := credits.plan_terms(p_user_id, v_cost, v_now);
  v_amount := credits.price_of(v_reservation.unit_price, v_quantity);
  -- A lapsed hold holds nothing any more: its commit is a charge.
  v_held := case v_reservation.status when 'held' then v_reservation.amount else 0 end;
  v_held_quantity := case v_reservation.status when 'held' then v_reservation.quantity else 0 end;
  v_code := case
    when not v_wallet.is_active and v_amount > v_held then 'account_suspended'
    when v_quantity > v_held_quantity and v_terms.used - case when (v_reservation.limit_period, v_reservation.limit_period_no)
        is not distinct from (v_terms.limit_period, v_terms.limit_period_no) then v_held_quantity else 0 end + v_quantity > v_terms.limit_quantity
      then 'limit_reached'
    when v_wallet.balance + v_wallet.debt < v_amount - v_held then 'insufficient_credits'
  end;
  if v_code is not null then
    perform credits.notify_decline(p_user_id, v_reservation.credit_type, v_reservation.action_type, v_code, v_amount - v_held,
      v_wallet.balance + v_wallet.debt, 1, v_now);
    v_wallet.change_no := v_wallet.change_no + 1;
    perform credits.finish_operation(v_wallet, v_now);
    return credits.outcome(v_code, jsonb_build_object('reservation_id', p_reservation_id, 'action_type', v_reservation.action_type,
      'action_name', v_cost.action_name, 'required', trim_scale(v_amount - v_held), 'available', trim_scale(v_wallet.balance + v_wallet.debt))
      || case v_code when 'limit_reached' then jsonb_build_object('limit', trim_scale(v_terms.limit_quantity), 'used', trim_scale(v_terms.used),
        'limit_period', v_terms.limit_period) else '{}' end);
  end if;

  v_entry.action_type := v_reservation.action_type;
  v_entry.reference_id := p_reservation_id;
  v_entry.related_entry_no := v_reservation.hold_entry_no;
  if v_reservation.status = 'held' then
    -- The release and the usage name the hold's own grants, whatever became of them; only the surplus really goes back.
    v_rest := v_amount;
    for v_part in
      select d.value as whole, (d.value ->> 'amount')::numeric as amount, d.n
      from jsonb_array_elements(v_reservation.allocations) with ordinality as d (value, n)
      order by d.n
    loop
      if v_rest > 0 then
        v_allocations := v_allocations || (v_part.whole || jsonb_build_object('amount', trim_scale(least(v_part.amount, v_rest))));
      end if;
      if v_part.amount > v_rest then
        v_surplus := v_surplus || (v_part.whole || jsonb_build_object('amount', trim_scale(v_part.amount - v_rest)));
      end if;
      v_rest := greatest(v_rest - v_part.amount, 0);
    end loop;
    v_returned := credits.give_back(v_wallet, v_surplus);
    v_wallet := v_returned.p_wallet;
    v_wallet.held := v_wallet.held - v_held;
    v_wallet := credits.add_entry(v_wallet, v_now, 'release', v_held, null, v_allocations || v_returned.allocations, v_entry);
    v_wallet := credits.expire_returned(v_wallet, v_now, v_surplus);
    perform credits.count_use(p_user_id, v_reservation.action_type, v_reservation.limit_period, v_reservation.limit_period_no, -v_held_quantity);
  end if;
  if v_amount > v_held then
    v_drawn := credits.draw_grants(v_wallet, v_amount - v_held);
    v_wallet := v_drawn.p_wallet;
    v_entry.user_id := p_user_id;
    v_entry.credit_type := v_wallet.credit_type;
    v_entry.amount := v_amount - v_held;
    v_entry.grant_no := v_drawn.grant_no;
    v_entry.allocations := v_drawn.allocations;
    v_allocations := v_allocations || credits.allocations_of(v_entry);
  end if;
  v_entry.unit_price := v_reservation.unit_price;
  v_entry.quantity := v_quantity;
  v_entry.metadata := v_reservation.metadata || p_metadata;
  v_entry.counted_in := credits.count_use(p_user_id, v_reservation.action_type, v_terms.limit_period, v_terms.limit_period_no, v_quantity);
  v_wallet := credits.add_entry(v_wallet, v_now, 'usage', -v_amount, null, v_allocations, v_entry);

  v_result := credits.charged(v_reservation.action_type, v_cost.action_name, trim_scale(v_amount), v_wallet.balance, v_wallet.debt,
      v_wallet.entry_no)
    || jsonb_build_object('reservation_id', p_reservation_id, 'quantity', trim_scale(v_quantity),
      'credits_released', trim_scale(greatest(v_held - v_amount, 0)));
  update credits.credit_reservations r
  set status = 'committed', settled_at = v_wallet.last_entry_at, settled_entry_no = v_wallet.entry_no, result = v_result
  where r.user_id = p_user_id and r.reservation_id = p_reservation_id;
  if v_surplus <> '[]' then
    v_wallet.next_due_at := least(v_wallet.next_due_at, credits.next_due_at(v_wallet));
  end if;
  perform credits.finish_operation(v_wallet, v_now);
  return v_result;
end
$$;

comment on function credits.commit_reservation(uuid, uuid, numeric, jsonb) is
  'Charges what the work of a hold came to: p_quantity priced units at the price of the hold, null for as many as were held. Less gives the rest '
  'back to its grants; more is charged while the balance allows, else declined (required is what is beyond the hold) and the hold stays. A lapsed '
  'hold is charged if the balance allows. Committing again with the same quantity returns the first result, replayed. Returns what '
  'deduct_credits_for_action returns, or code not_found, with reservation_id, quantity and credits_released; balance_before and available are those '
  'after the release, before the charge. Locks the wallet row. Raises UC001 for malformed arguments, UC312 if the hold is released or was committed '
  'with another quantity.';

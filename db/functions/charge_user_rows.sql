create or replace function credits.charge_user_rows(
  p_user_id uuid,
  p_cost credits.credit_costs,
  p_source text,
  p_row_ids text[],
  p_quantities numeric[],
  p_seconds integer[],
  p_is_settlement boolean default false
)
returns numeric
language plpgsql
volatile
as $$
declare
  v_usual numeric;
  v_wallet credits.wallets;
  v_terms record;
  v_unit_price numeric;
  v_debt_limit numeric := 0;
  v_now timestamptz;
  v_known jsonb;
  v_is_first boolean[];
  v_first_entry_no bigint;
  v_change_no bigint;
  v_amount numeric;
  v_available numeric;
  v_drawn record;
  v_grant_no bigint;
  v_allocation jsonb;
  v_code text;
  v_quantity numeric := 0;
  v_counted_in text;
  v_minutes bigint := 0;
  v_charged numeric := 0;
  v_ids text[] := '{}';
  v_amounts numeric[] := '{}';
  v_charged_quantities numeric[] := '{}';
  v_charged_seconds integer[] := '{}';
  v_balances numeric[] := '{}';
  v_grant_nos bigint[] := '{}';
  v_allocations jsonb[] := '{}';
  v_declined credits.uncharged_rows[] := '{}';
begin
  if not p_is_settlement and cardinality(p_row_ids) > 1 then
    v_usual := credits.charge_usual_rows(p_user_id, p_cost, p_source, p_row_ids, p_quantities, p_seconds);
    if v_usual is not null then
      return v_usual;
    end if;
  end if;
  v_wallet := credits.lock_wallet(p_user_id, p_cost.credit_type);
  v_now := greatest(credits.clock_now(), v_wallet.last_entry_at);
  if v_wallet.user_id is not null then
    v_wallet := credits.apply_due(v_wallet, v_now);
    if p_cost.on_insufficient = 'debt' then
      select p.debt_limit into v_debt_limit
      from credits.accounts a
      join credits.plans p on p.plan_id = a.plan_id
      where a.user_id = p_user_id;
    end if;
  end if;
  v_unit_price := p_cost.cost_per_unit;
  v_terms := credits.plan_terms(p_user_id, p_cost, v_now);
  -- A settlement brings the price of the day the row was written.
  if p_is_settlement then
    v_terms.p_cost.cost_per_unit := v_unit_price;
  end if;
  p_cost := v_terms.p_cost;
  v_first_entry_no := v_wallet.entry_no + 1;
  v_change_no := v_wallet.change_no;
  v_available := coalesce(v_wallet.balance + v_wallet.debt, 0);

  -- Usually none is known: a row is new unless it was charged by an explicit call, or is inserted or completed again. One that is listed as
  -- uncharged stays listed until it is settled, so that restoring a backup changes nothing.
  select jsonb_object_agg(k.id, true) into v_known
  from credits.known_rows(p_user_id, p_cost.credit_type, p_source, p_row_ids, not p_is_settlement) as k (id);

  -- Only a partitioned table can bring an id twice in one statement: of twins, the first one counts.
  if cardinality(p_row_ids) <> (select count(distinct r.id) from unnest(p_row_ids) r (id)) then
    select array_agg(t.is_first order by t.n) into v_is_first
    from (
      select r.n, row_number() over (partition by r.id order by r.n) = 1 as is_first
      from unnest(p_row_ids) with ordinality as r (id, n)
    ) t;
  end if;

  for i in 1 .. cardinality(p_row_ids) loop
    continue when v_known ? p_row_ids[i] or not v_is_first[i];
    -- A price set since may make a listed row cost more than any charge can be; it must not keep the others from being settled.
    continue when p_is_settlement and p_cost.cost_per_unit * p_quantities[i] > 1000000000;
    v_code := case
      when p_cost.cost_per_unit is null then 'unknown_action'
      when v_wallet.user_id is null then 'unknown_account'
      when not v_wallet.is_active then 'account_suspended'
      when not p_cost.is_active then 'inactive_action'
    end;
    v_amount := credits.price_of(p_cost.cost_per_unit, p_quantities[i]);
    if v_code is null and v_terms.used + p_quantities[i] > v_terms.limit_quantity then
      v_code := 'limit_reached';
    end if;
    if v_code is null and v_available < v_amount
      and not (p_cost.on_insufficient = 'debt' and v_wallet.debt + v_amount - v_available <= v_debt_limit)
    then
      v_code := 'insufficient_credits';
    end if;

    if v_code is null then
      if v_wallet.open_remaining >= v_amount and v_amount > 0 then
        v_wallet.open_remaining := v_wallet.open_remaining - v_amount;
        v_grant_no := v_wallet.open_grant_no;
        v_allocation := null;
      else
        v_drawn := credits.draw_grants(v_wallet, v_amount);
        v_wallet := v_drawn.p_wallet;
        v_grant_no := v_drawn.grant_no;
        v_allocation := v_drawn.allocations;
      end if;
      v_wallet.balance := v_wallet.balance - v_amount;
      v_wallet.entry_no := v_wallet.entry_no + 1;
      v_available := v_wallet.balance + v_wallet.debt;
      v_charged := v_charged + v_amount;
      v_terms.used := v_terms.used + p_quantities[i];
      v_quantity := v_quantity + p_quantities[i];
      v_minutes := v_minutes + case when p_seconds is null then 0 else p_quantities[i] end;
      v_ids := v_ids || p_row_ids[i];
      v_amounts := v_amounts || v_amount;
      v_charged_quantities := v_charged_quantities || p_quantities[i];
      v_charged_seconds := v_charged_seconds || p_seconds[i];
      v_balances := v_balances || v_wallet.balance;
      v_grant_nos := v_grant_nos || v_grant_no;
      v_allocations := array_append(v_allocations, v_allocation);
    elsif p_cost.on_insufficient = 'reject' and not p_is_settlement then
      perform credits.fail(
        case v_code
          when 'insufficient_credits' then 'UC101'
          when 'limit_reached' then 'UC102'
          when 'unknown_account' then 'UC103'
          when 'account_suspended' then 'UC104'
          when 'unknown_action' then 'UC105'
          else 'UC106'
        end,
        'the row cannot be charged: ' || v_code,
        jsonb_build_object('code', v_code, 'user_id', p_user_id, 'action_type', p_cost.action_type, 'action_name', p_cost.action_name,
          'required', trim_scale(v_amount), 'available', trim_scale(v_available), 'source', p_source, 'row_id', p_row_ids[i]));
    else
      v_declined := v_declined || row(p_user_id, p_source, p_row_ids[i], p_cost.action_type, p_cost.credit_type, p_quantities[i],
        p_cost.cost_per_unit, p_seconds[i], v_code, v_amount, v_available, v_now, i)::credits.uncharged_rows;
    end if;
  end loop;

  if cardinality(v_ids) > 0 then
    v_counted_in := credits.count_use(p_user_id, p_cost.action_type, v_terms.limit_period, v_terms.limit_period_no, v_quantity);
    insert into credits.credit_ledger
      (user_id, credit_type, entry_no, created_at, kind, amount, balance_after, action_type, unit_price, quantity, grant_no, allocations,
        row_source, row_id, key_hash, duration_seconds, actor, session_role, metadata, counted_in)
    select p_user_id, p_cost.credit_type, v_first_entry_no + r.n - 1, v_now, 'usage', -r.amount, r.balance, p_cost.action_type,
      p_cost.cost_per_unit, r.quantity, r.grant_no, r.allocation, p_source, r.id, credits.key_hash(p_user_id, r.id), r.seconds, credits.actor(), session_user, '{}',
      v_counted_in
    from unnest(v_ids, v_amounts, v_charged_quantities, v_charged_seconds, v_balances, v_grant_nos, v_allocations)
      with ordinality as r (id, amount, quantity, seconds, balance, grant_no, allocation, n);

    v_wallet.change_no := v_wallet.change_no + cardinality(v_ids);
    v_wallet.last_entry_at := v_now;
  end if;

  if p_is_settlement then
    perform credits.unlist_uncharged(p_user_id, p_source, v_ids || array(select jsonb_object_keys(v_known)));
  elsif cardinality(v_declined) > 0 then
    insert into credits.uncharged_rows
    select d.* from unnest(v_declined) d
    on conflict (user_id, source, row_id) do nothing;
    perform credits.notify_decline(p_user_id, p_cost.credit_type, p_cost.action_type, v_declined[1].code, v_declined[1].required,
      v_declined[1].available, cardinality(v_declined), v_now);
    v_wallet.change_no := v_wallet.change_no + 1;
  end if;

  if v_wallet.change_no > v_change_no then
    perform credits.finish_operation(v_wallet, v_now);
  end if;
  if v_minutes > 0 then
    perform credits.book_minutes(p_user_id, v_minutes);
  end if;
  return v_charged;
end
$$;

comment on function credits.charge_user_rows(uuid, credits.credit_costs, text, text[], numeric[], integer[], boolean) is
  'Internal. Charges rows of one user, deciding them in order, one entry each; one wallet update whatever their number. Locks the wallet row '
  'first, then the account row for call minutes. A row that cannot be paid is treated as the price''s on_insufficient says; a settlement '
  'leaves it where it is. Returns the credits charged. Raises UC1xx under the policy reject.';

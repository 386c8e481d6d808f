create or replace function credits.charge_usual_rows(
  p_user_id uuid,
  p_cost credits.credit_costs,
  p_source text,
  p_row_ids text[],
  p_quantities numeric[],
  p_seconds integer[]
)
returns numeric
language plpgsql
volatile
as $$
declare
  v_now timestamptz := credits.clock_now();
  v_actor text := credits.actor();
  v_count integer := cardinality(p_row_ids);
  v_amount numeric;
  v_amounts numeric[];
  v_running numeric[];
  v_total numeric;
  v_change_no bigint;
begin
  -- Only a partitioned table can bring an id twice in one statement.
  if p_cost.usual_price is null or v_count <> (select count(distinct r.id) from unnest(p_row_ids) r (id)) then
    return null;
  end if;
  -- Usually all rows cost the same, and need no adding up.
  if p_quantities[1] = all (p_quantities) then
    v_amount := credits.amount_of(p_cost.usual_price, p_quantities[1]);
    v_total := v_amount * v_count;
  else
    select max(q.amount), array_agg(q.amount), array_agg(q.running) into v_amount, v_amounts, v_running
    from (
      select a.amount, sum(a.amount) over (order by q.n rows unbounded preceding) as running
      from unnest(p_quantities) with ordinality q (quantity, n)
      cross join lateral (select credits.amount_of(p_cost.usual_price, q.quantity) as amount) a
    ) q;
    v_total := v_running[v_count];
  end if;
  if v_amount > 1000000000 then
    return null;
  end if;

  -- That the rows are new is read before the lock, and is true under it if the wallet is still as it was in this very snapshot: whoever charges
  -- a row or lists a row as uncharged holds the lock and moves the change counter.
  select w.change_no into v_change_no
  from credits.wallets w
  where w.user_id = p_user_id and w.credit_type = p_cost.credit_type
    and not exists (select from credits.known_rows(p_user_id, p_cost.credit_type, p_source, p_row_ids, false))
    and not exists (select from credits.uncharged_rows u where u.user_id = p_user_id and u.source = p_source);
  if not found then
    return null;
  end if;

  with w as (
    update credits.wallets w
    set balance = w.balance - v_total,
      entry_no = w.entry_no + v_count,
      change_no = w.change_no + v_count,
      last_entry_at = greatest(v_now, w.last_entry_at),
      open_remaining = w.open_remaining - v_total
    where w.user_id = p_user_id and w.credit_type = p_cost.credit_type and w.is_active and w.debt = 0
      and w.open_remaining > v_total and w.next_due_at > v_now + interval '1 hour' and w.change_no = v_change_no
    returning w.entry_no - v_count as entry_no, w.balance + v_total as balance, w.last_entry_at, w.open_grant_no
  )
  insert into credits.credit_ledger
    (user_id, credit_type, entry_no, created_at, kind, amount, balance_after, action_type, unit_price, quantity, grant_no, row_source, row_id,
      key_hash, duration_seconds, actor, session_role, metadata)
  select p_user_id, p_cost.credit_type, w.entry_no + r.n, w.last_entry_at, 'usage', -coalesce(v_amounts[r.n], v_amount),
    w.balance - coalesce(v_running[r.n], v_amount * r.n), p_cost.action_type, p_cost.usual_price, r.quantity, w.open_grant_no, p_source, r.row_id,
    credits.key_hash(p_user_id, r.row_id), r.seconds, v_actor, session_user, '{}'
  from w
  cross join unnest(p_row_ids, p_quantities, p_seconds) with ordinality as r (row_id, quantity, seconds, n);
  if not found then
    return null;
  end if;
  if p_seconds is not null then
    perform credits.book_minutes(p_user_id, (select sum(q.quantity)::bigint from unnest(p_quantities) q (quantity)));
  end if;
  return v_total;
end
$$;

comment on function credits.charge_usual_rows(uuid, credits.credit_costs, text, text[], numeric[], integer[]) is
  'Internal. The usual case of charge_user_rows, as one update and one insert whatever the number of rows: all of them are new, nothing is due soon, the open '
  'slice of a grant covers them all, and the plan has no terms of its own. Returns the credits charged; null, having done nothing, if the case is not so simple. Locks the '
  'wallet row by the update that takes the amount, then the account row for call minutes.';

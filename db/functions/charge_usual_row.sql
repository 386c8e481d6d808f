create or replace function credits.charge_usual_row(
  p_user_id uuid,
  p_cost credits.credit_costs,
  p_source text,
  p_row_id text,
  p_quantity numeric,
  p_seconds integer
)
returns numeric
language plpgsql
volatile
as $$
declare
  v_now timestamptz := credits.clock_now();
  v_amount numeric := credits.amount_of(p_cost.usual_price, p_quantity);
  v_change_no bigint;
begin
  if p_cost.usual_price is null or v_amount > 1000000000 then
    return null;
  end if;
  -- As in charge_usual_rows().
  select w.change_no into v_change_no
  from credits.wallets w
  where w.user_id = p_user_id and w.credit_type = p_cost.credit_type
    and not exists (
      select
      from credits.credit_ledger l
      where l.key_hash = credits.key_hash(p_user_id, p_row_id)
        and (l.user_id = p_user_id and l.credit_type = p_cost.credit_type and l.row_source = p_source and l.row_id = p_row_id) is true)
    and not exists (
      select
      from credits.charge_keys k
      where k.user_id = p_user_id and k.credit_type = p_cost.credit_type and k.source = p_source and k.key = p_row_id)
    and not exists (
      select
      from credits.uncharged_rows u
      where u.user_id = p_user_id and u.source = p_source and u.row_id = p_row_id);
  if not found then
    return null;
  end if;

  with w as (
    update credits.wallets w
    set balance = w.balance - v_amount,
      entry_no = w.entry_no + 1,
      change_no = w.change_no + 1,
      last_entry_at = greatest(v_now, w.last_entry_at),
      open_remaining = w.open_remaining - v_amount
    where w.user_id = p_user_id and w.credit_type = p_cost.credit_type and w.is_active and w.debt = 0
      and w.open_remaining > v_amount and w.next_due_at > v_now + interval '1 hour' and w.change_no = v_change_no
    returning w.entry_no, w.balance, w.last_entry_at, w.open_grant_no
  )
  insert into credits.credit_ledger
    (user_id, credit_type, entry_no, created_at, kind, amount, balance_after, action_type, unit_price, quantity, grant_no, row_source, row_id,
      key_hash, duration_seconds, actor, session_role, metadata)
  select p_user_id, p_cost.credit_type, w.entry_no, w.last_entry_at, 'usage', -v_amount, w.balance, p_cost.action_type, p_cost.usual_price,
    p_quantity, w.open_grant_no, p_source, p_row_id, credits.key_hash(p_user_id, p_row_id), p_seconds,
    nullif(left(current_setting('credits.actor', true), 255), ''), session_user, '{}'
  from w;
  if not found then
    return null;
  end if;
  if p_seconds is not null then
    perform credits.book_minutes(p_user_id, p_quantity::bigint);
  end if;
  return v_amount;
end
$$;

comment on function credits.charge_usual_row(uuid, credits.credit_costs, text, text, numeric, integer) is
  'Internal. What charge_usual_rows does, for the most usual statement, which has one row. Returns the credits charged; null, having done nothing, if the case is not '
  'so simple. Locks the wallet row by the update that takes the amount, then the account row for call minutes.';

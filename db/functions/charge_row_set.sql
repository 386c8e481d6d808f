create or replace function credits.charge_row_set(
  p_action_type text,
  p_source text,
  p_user_ids uuid[],
  p_row_ids text[],
  p_quantities numeric[],
  p_seconds integer[] default null
)
returns void
language plpgsql
volatile
as $$
declare
  v_cost credits.credit_costs := credits.cost_of(p_action_type);
  v_user record;
begin
  if p_user_ids is null then
    return;
  end if;
  -- Names are put together only for a row that is refused.
  for i in 1 .. cardinality(p_row_ids) loop
    if (p_user_ids[i] is not null and length(p_row_ids[i]) between 1 and 255
      and p_quantities[i] > 0 and p_quantities[i] <= 1000000000 and scale(trim_scale(p_quantities[i])) <= 6) is not true
    then
      perform credits.check_argument(length(p_row_ids[i]) between 1 and 255, 'id of a row of ' || p_source, 'must have 1 to 255 characters');
      perform credits.check_argument(p_user_ids[i] is not null, format('user of row %s of %s', p_row_ids[i], p_source), 'must not be null');
      perform credits.check_amount(format('quantity of row %s of %s', p_row_ids[i], p_source), p_quantities[i]);
    end if;
  end loop;

  -- One row, then one user, is the usual case and needs no grouping.
  if cardinality(p_row_ids) = 1
    and credits.charge_usual_row(p_user_ids[1], v_cost, p_source, p_row_ids[1], p_quantities[1], p_seconds[1]) is not null
  then
    return;
  end if;
  if p_user_ids[1] = all (p_user_ids) then
    perform credits.charge_user_rows(p_user_ids[1], v_cost, p_source, p_row_ids, p_quantities, p_seconds);
    return;
  end if;
  -- Sorted by user, so that two statements over the same users lock their wallets in the same order.
  for v_user in
    select r.user_id, array_agg(r.row_id order by r.n) as row_ids, array_agg(r.quantity order by r.n) as quantities,
      case when p_seconds is not null then array_agg(r.seconds order by r.n) end as seconds
    from unnest(p_user_ids, p_row_ids, p_quantities, p_seconds) with ordinality as r (user_id, row_id, quantity, seconds, n)
    group by r.user_id
    order by r.user_id
  loop
    continue when cardinality(v_user.row_ids) = 1
      and credits.charge_usual_row(v_user.user_id, v_cost, p_source, v_user.row_ids[1], v_user.quantities[1], v_user.seconds[1]) is not null;
    perform credits.charge_user_rows(v_user.user_id, v_cost, p_source, v_user.row_ids, v_user.quantities, v_user.seconds);
  end loop;
end
$$;

comment on function credits.charge_row_set(text, text, uuid[], text[], numeric[], integer[]) is
  'Internal. Charges the rows of one statement, given as arrays in the order of the rows (null for none), grouped per user. Locks the '
  'wallets of the users in ascending order. Raises UC001 for a row without user, id or a valid quantity, and UC1xx under the policy reject.';

create or replace function credits.charge_uncharged(p_user_id uuid)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_group record;
  v_cost credits.credit_costs;
  v_listed bigint;
  v_left bigint;
  v_charged numeric := 0;
begin
  perform credits.check_argument(p_user_id is not null, 'p_user_id', 'must not be null');
  perform from credits.wallets w where w.user_id = p_user_id order by w.credit_type for no key update;
  select count(*) into v_listed from credits.uncharged_rows u where u.user_id = p_user_id;

  for v_group in
    select u.source, u.action_type, u.unit_price,
      array_agg(u.row_id order by u.created_at, u.ordinal) as row_ids,
      array_agg(u.quantity order by u.created_at, u.ordinal) as quantities,
      array_agg(u.duration_seconds order by u.created_at, u.ordinal) as seconds
    from credits.uncharged_rows u
    where u.user_id = p_user_id
    group by u.source, u.action_type, u.unit_price
    order by min(u.created_at), u.source, u.action_type
  loop
    select c.* into v_cost from credits.credit_costs c where c.action_type = v_group.action_type;
    continue when not found;
    -- The price of the day the row was written, unless it had none. A settlement neither fails nor runs into debt.
    v_cost.cost_per_unit := coalesce(v_group.unit_price, v_cost.cost_per_unit);
    v_cost.on_insufficient := 'notify';
    v_charged := v_charged + credits.charge_user_rows(p_user_id, v_cost, v_group.source, v_group.row_ids, v_group.quantities,
      case when v_group.seconds[1] is not null then v_group.seconds end, p_is_settlement => true);
  end loop;

  select count(*) into v_left from credits.uncharged_rows u where u.user_id = p_user_id;
  return credits.outcome('ok', jsonb_build_object(
    'rows_charged', v_listed - v_left, 'rows_left', v_left, 'credits_deducted', trim_scale(v_charged)));
end
$$;

comment on function credits.charge_uncharged(uuid) is
  'Charges the rows of a user that stand without their charge (uncharged_rows), in their order and at the price they were written at, as far as '
  'the credits reach. Returns rows_charged, rows_left and credits_deducted. Each row is charged once, whoever calls and how often. Locks all '
  'wallets of the user. Raises UC001 for a null user.';

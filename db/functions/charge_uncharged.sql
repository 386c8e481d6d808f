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
  v_charged numeric;
  v_deducted jsonb := '{}';
begin
  perform credits.check_argument(p_user_id is not null, 'p_user_id', 'must not be null');
  if not exists (select from credits.accounts a where a.user_id = p_user_id) then
    return credits.outcome('unknown_account', jsonb_build_object('user_id', p_user_id));
  end if;
  perform from credits.wallets w where w.user_id = p_user_id order by w.credit_type for no key update;
  select count(*) into v_listed from credits.uncharged_rows u where u.user_id = p_user_id;

  -- As many rows at once as follow each other with the same price.
  for v_group in
    select u.source, u.action_type, u.unit_price,
      array_agg(u.row_id order by u.n) as row_ids,
      array_agg(u.quantity order by u.n) as quantities,
      case when u.is_call then array_agg(u.duration_seconds order by u.n) end as seconds
    from (
      select o.*, o.n - row_number() over (partition by o.source, o.action_type, o.unit_price, o.is_call order by o.n) as run
      from (
        select r.source, r.action_type, r.unit_price, r.row_id, r.quantity, r.duration_seconds, r.duration_seconds is not null as is_call,
          row_number() over (order by r.created_at, r.ordinal, r.source collate "C", r.row_id collate "C") as n
        from credits.uncharged_rows r
        where r.user_id = p_user_id
      ) o
    ) u
    group by u.source, u.action_type, u.unit_price, u.is_call, u.run
    order by min(u.n)
  loop
    v_cost := credits.cost_of(v_group.action_type);
    -- The price of the day the row was written, unless it had none. A settlement neither fails nor runs into debt.
    v_cost.cost_per_unit := coalesce(v_group.unit_price, v_cost.cost_per_unit);
    v_cost.is_active := coalesce(v_cost.is_active, true);
    v_cost.on_insufficient := 'notify';
    v_charged := credits.charge_user_rows(p_user_id, v_cost, v_group.source, v_group.row_ids, v_group.quantities, v_group.seconds,
      p_is_settlement => true);
    if v_charged > 0 then
      v_deducted := v_deducted || jsonb_build_object(v_cost.credit_type,
        trim_scale(v_charged + coalesce((v_deducted ->> v_cost.credit_type)::numeric, 0)));
    end if;
  end loop;

  select count(*) into v_left from credits.uncharged_rows u where u.user_id = p_user_id;
  return credits.outcome('ok', jsonb_build_object('rows_charged', v_listed - v_left, 'rows_left', v_left, 'deducted', v_deducted));
end
$$;

comment on function credits.charge_uncharged(uuid) is
  'Charges the rows of a user that stand without their charge (uncharged_rows), in their order and at the price they were written at, as far as '
  'the credits reach. Returns code ok or unknown_account, rows_charged, rows_left and deducted (amount per credit type). Each row is charged '
  'once, whoever calls and how often, also if the application has deleted it since. Locks all wallets of the user. Raises UC001 for a null user.';

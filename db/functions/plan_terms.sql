create or replace function credits.plan_terms(
  p_user_id uuid,
  inout p_cost credits.credit_costs,
  p_at timestamptz,
  out is_unlimited boolean,
  out limit_quantity numeric,
  out limit_period text,
  out limit_period_no integer,
  out used numeric
)
returns record
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_terms record;
begin
  is_unlimited := false;
  if p_cost.has_plan_terms is not true then
    return;
  end if;
  select f.is_unlimited, f.cost_per_unit, f.limit_quantity, f.limit_period, a.period_anchor, a.time_zone
  into v_terms
  from credits.accounts a
  join credits.plan_features f on f.plan_id = a.plan_id and f.action_type = p_cost.action_type
  where a.user_id = p_user_id;
  if not found then
    return;
  end if;
  is_unlimited := v_terms.is_unlimited;
  p_cost.cost_per_unit := case when v_terms.is_unlimited then 0 else coalesce(v_terms.cost_per_unit, p_cost.cost_per_unit) end;
  if v_terms.limit_period is not null then
    limit_quantity := v_terms.limit_quantity;
    limit_period := v_terms.limit_period;
    limit_period_no := credits.period_number(v_terms.period_anchor, v_terms.time_zone, v_terms.limit_period, p_at);
    used := coalesce((
      select u.used
      from credits.usage_counters u
      where u.user_id = p_user_id and u.action_type = p_cost.action_type and u.period = v_terms.limit_period and u.period_no = limit_period_no
    ), 0) - coalesce((
      -- A hold that has lapsed gives its units back, applied (and then it is held no more) or not.
      select sum(r.quantity)
      from credits.credit_reservations r
      where r.user_id = p_user_id and r.credit_type = p_cost.credit_type and r.status = 'held' and r.expires_at <= p_at
        and r.action_type = p_cost.action_type and r.limit_period = v_terms.limit_period and r.limit_period_no = plan_terms.limit_period_no
    ), 0);
  end if;
end
$$;

comment on function credits.plan_terms(uuid, credits.credit_costs, timestamptz) is
  'Internal. A price as the user''s plan has it: at cost 0 where unlimited, with the plan''s own price, and the limit with what is used of it in its '
  'period (null without a limit). A writing caller holds the wallet''s lock.';

create or replace function credits.amount_of(
  p_cost_per_unit numeric,
  p_quantity numeric
)
returns numeric
language sql
immutable
parallel safe
as $$
  select greatest(pg_catalog.round(p_cost_per_unit * p_quantity, 6), pg_catalog.sign(p_cost_per_unit) * 0.000001)
$$;

comment on function credits.amount_of(numeric, numeric) is
  'Internal. Unit price times a quantity above zero, rounded once to six decimals, half away from zero; at least 0.000001 for a price above zero. Has no setting, so '
  'that the planner inlines it.';

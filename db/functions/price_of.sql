create or replace function credits.price_of(
  p_cost_per_unit numeric,
  p_quantity numeric
)
returns numeric
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_amount numeric := round(p_cost_per_unit * p_quantity, 6);
begin
  -- round() is half away from zero. What has a price is never free.
  if v_amount = 0 and p_cost_per_unit > 0 then
    v_amount := 0.000001;
  end if;
  if v_amount > 1000000000 then
    perform credits.check_argument(false, 'p_quantity', 'costs more than 1000000000 credits');
  end if;
  return v_amount;
end
$$;

comment on function credits.price_of(numeric, numeric) is
  'Internal. Unit price times quantity, rounded once to six decimals, half away from zero; at least 0.000001 for a price above zero. '
  'Raises UC001 above 1e9.';

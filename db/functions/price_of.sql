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
  v_amount numeric := credits.amount_of(p_cost_per_unit, p_quantity);
begin
  if v_amount > 1000000000 then
    perform credits.check_argument(false, 'p_quantity', 'costs more than 1000000000 credits');
  end if;
  return v_amount;
end
$$;

comment on function credits.price_of(numeric, numeric) is
  'Internal. What a quantity costs, as amount_of() says. Raises UC001 above 1e9.';

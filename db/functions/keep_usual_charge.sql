create or replace function credits.keep_usual_charge()
returns trigger
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_price numeric;
begin
  new.usual_price := null;
  new.usual_outcome := null;
  if new.is_active and not new.has_plan_terms then
    v_price := trim_scale(new.cost_per_unit);
    -- A price that is refused is left to the checks of the table.
    if v_price between 0 and 1000000000 and scale(v_price) <= 6 then
      new.usual_price := v_price;
      new.usual_outcome := jsonb_build_object('success', true, 'code', 'ok', 'error', null, 'action_type', new.action_type,
        'action_name', new.action_name, 'required', v_price, 'credits_deducted', v_price, 'replayed', false);
    end if;
  end if;
  return new;
end
$$;

comment on function credits.keep_usual_charge() is
  'Trigger function of credit_costs: keeps usual_price and usual_outcome, which the usual charge reads instead of working them out.';

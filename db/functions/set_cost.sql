create or replace function credits.set_cost(
  p_action_type text,
  p_cost_per_unit numeric default null,
  p_action_name text default null,
  p_unit_description text default null,
  p_on_insufficient text default null,
  p_is_active boolean default null,
  p_credit_type text default null,
  p_unit_seconds integer default null
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_cost credits.credit_costs;
begin
  perform credits.check_argument(p_action_type ~ '^[a-z][a-z0-9_.-]{0,99}$', 'p_action_type', 'must be a lower-case name');
  perform credits.check_argument(coalesce(p_cost_per_unit >= 0, true), 'p_cost_per_unit', 'must not be negative');
  if p_cost_per_unit is distinct from 0 and p_cost_per_unit is not null then
    perform credits.check_amount('p_cost_per_unit', p_cost_per_unit);
  end if;
  perform credits.check_argument(coalesce(length(p_action_name) between 1 and 200, true), 'p_action_name', 'must have 1 to 200 characters');
  perform credits.check_argument(coalesce(length(p_unit_description) between 1 and 200, true),
    'p_unit_description', 'must have 1 to 200 characters');
  perform credits.check_argument(coalesce(p_on_insufficient in ('notify', 'reject', 'debt'), true),
    'p_on_insufficient', 'must be notify, reject or debt');
  perform credits.check_argument(coalesce(p_credit_type ~ '^[a-z][a-z0-9_]{0,62}$', true), 'p_credit_type', 'must be a lower-case name');
  perform credits.check_argument(coalesce(p_unit_seconds > 0, true), 'p_unit_seconds', 'must be greater than zero');

  if p_cost_per_unit is not null then
    insert into credits.credit_costs
      (action_type, action_name, cost_per_unit, unit_description, credit_type, on_insufficient, is_active)
    values
      (p_action_type, coalesce(p_action_name, initcap(replace(p_action_type, '_', ' '))), p_cost_per_unit,
        coalesce(p_unit_description, 'per use'), coalesce(p_credit_type, 'credits'), coalesce(p_on_insufficient, 'notify'),
        coalesce(p_is_active, true))
    on conflict (action_type) do nothing;
  end if;

  update credits.credit_costs c
  set cost_per_unit = coalesce(p_cost_per_unit, c.cost_per_unit),
    action_name = coalesce(p_action_name, c.action_name),
    unit_description = coalesce(p_unit_description, c.unit_description),
    on_insufficient = coalesce(p_on_insufficient, c.on_insufficient),
    is_active = coalesce(p_is_active, c.is_active),
    unit_seconds = coalesce(p_unit_seconds, c.unit_seconds)
  where c.action_type = p_action_type
  returning c.* into v_cost;
  perform credits.check_argument(found, 'p_cost_per_unit', 'a new action needs a price');
  perform credits.check_argument(coalesce(p_credit_type = v_cost.credit_type, true),
    'p_credit_type', 'an action keeps its credit type for life; make a new action');
  return credits.outcome('ok', to_jsonb(v_cost) - '{has_plan_terms,usual_price,usual_outcome}'::text[]
    || jsonb_build_object('cost_per_unit', trim_scale(v_cost.cost_per_unit)));
end
$$;

comment on function credits.set_cost(text, numeric, text, text, text, boolean, text, integer) is
  'Adds an action to the price list or changes one; what is null stays (a new action needs a price). 0 makes it free. p_unit_seconds '
  'is for what is metered by time: how long one unit is. Holds for charges that '
  'begin after the commit; history is never repriced. Returns the row. Locks the price row. Raises UC001 for malformed arguments.';

create or replace function credits.set_feature(
  p_plan_id text,
  p_action_type text,
  p_is_unlimited boolean default null,
  p_cost_per_unit numeric default null,
  p_limit_quantity numeric default null,
  p_limit_period text default null
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_feature credits.plan_features;
  v_known boolean;
  v_removed boolean := false;
begin
  perform credits.check_argument(p_action_type ~ '^[a-z][a-z0-9_.-]{0,99}$', 'p_action_type', 'must be a lower-case name');
  if p_cost_per_unit is distinct from 0 and p_cost_per_unit is not null then
    perform credits.check_amount('p_cost_per_unit', p_cost_per_unit);
  end if;
  if p_limit_quantity is distinct from 0 and p_limit_quantity is not null then
    perform credits.check_amount('p_limit_quantity', p_limit_quantity);
  end if;
  perform credits.check_argument(coalesce(p_limit_period in ('day', 'month'), true), 'p_limit_period', 'must be day or month');
  perform credits.check_argument(p_limit_period is null or p_limit_quantity is not null, 'p_limit_quantity', 'must not be null with a period');
  perform credits.check_argument(p_limit_quantity is null or p_limit_period is not null, 'p_limit_period', 'a limit needs a period: day or month');
  perform credits.check_argument(p_is_unlimited is not true or p_cost_per_unit is null, 'p_cost_per_unit', 'what is unlimited has no price');
  perform credits.check_argument(p_is_unlimited is not true or p_limit_quantity is null,
    'p_limit_quantity', 'what is unlimited has no limit; free up to a limit is a price of 0');
  -- Locked, so that an unknown plan is this error and never that of the foreign key.
  perform from credits.plans p where p.plan_id = p_plan_id for key share;
  perform credits.check_argument(found, 'p_plan_id', 'there is no such plan');

  -- Against another plan's terms for the action: of two callers, the second one's trigger (mark_plan_terms) must see the first one's row. An
  -- update, as a mere lock would leave a REPEATABLE READ caller unaware.
  update credits.credit_costs c set has_plan_terms = c.has_plan_terms where c.action_type = p_action_type;
  v_known := found;

  if p_is_unlimited or p_cost_per_unit is not null or p_limit_quantity is not null then
    perform credits.check_argument(v_known, 'p_action_type', 'there is no price for this action');
    insert into credits.plan_features as f (plan_id, action_type, is_unlimited, cost_per_unit, limit_quantity, limit_period)
    values (p_plan_id, p_action_type, coalesce(p_is_unlimited, false), p_cost_per_unit, p_limit_quantity, p_limit_period)
    on conflict (plan_id, action_type) do update
    set is_unlimited = excluded.is_unlimited,
      cost_per_unit = excluded.cost_per_unit,
      limit_quantity = excluded.limit_quantity,
      limit_period = excluded.limit_period
    returning f.* into v_feature;
  else
    delete from credits.plan_features f where f.plan_id = p_plan_id and f.action_type = p_action_type;
    v_removed := found;
    -- What a plan still says of a price that was deleted can be removed.
    perform credits.check_argument(v_known or v_removed, 'p_action_type', 'there is no price for this action');
    v_feature.plan_id := p_plan_id;
    v_feature.action_type := p_action_type;
    v_feature.is_unlimited := false;
  end if;
  return credits.outcome('ok', to_jsonb(v_feature) || jsonb_build_object(
    'cost_per_unit', trim_scale(v_feature.cost_per_unit),
    'limit_quantity', trim_scale(v_feature.limit_quantity),
    'removed', v_removed));
end
$$;

comment on function credits.set_feature(text, text, boolean, numeric, numeric, text) is
  'Says all that a plan says of an action: unlimited (it costs nothing and needs no credits), or a price of its own (0 makes it free), or a '
  'limit of p_limit_quantity priced units (0 forbids it) per day or month of the account, or both of these. Each call states the whole: what is'
  ' not given is not said any more, and with nothing given (or unlimited false alone) the plan has no terms of its own for the action, and the '
  'price list alone holds. Holds at once, for the charges of all accounts on the plan that begin after the commit; holds and chat sessions '
  'under way keep their price, and a hold may be committed for what it holds, whatever the new limit. Uses are counted only while there is a '
  'limit, per day or per month: a new one counts from now on, one of another quantity goes on with what was counted in its running period. '
  'Returns the row and removed, whether this call removed one. Locks the price row, which no charge waits for, no wallet. Raises UC001 for '
  'malformed arguments, an unknown plan and an action without a price.';

create or replace function credits.cost_of(p_action_type text)
returns credits.credit_costs
language plpgsql
stable
as $$
declare
  v_cost credits.credit_costs;
begin
  select c.* into v_cost from credits.credit_costs c where c.action_type = p_action_type;
  if found then
    return v_cost;
  end if;
  -- A price that was deleted: what it was called, its credit type and its policy still hold for the rows that name it.
  select h.action_name, h.credit_type, h.on_insufficient
  into v_cost.action_name, v_cost.credit_type, v_cost.on_insufficient
  from credits.credit_cost_changes h
  where h.action_type = p_action_type
  order by h.change_no desc
  limit 1;
  v_cost.action_type := p_action_type;
  v_cost.has_plan_terms := false;
  v_cost.action_name := coalesce(v_cost.action_name, p_action_type);
  v_cost.credit_type := coalesce(v_cost.credit_type, 'credits');
  v_cost.on_insufficient := coalesce(v_cost.on_insufficient, 'notify');
  return v_cost;
end
$$;

comment on function credits.cost_of(text) is
  'Internal. The price of an action; one without a price has cost_per_unit null and the rest as it last was. Locks nothing.';

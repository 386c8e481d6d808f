create or replace function credits.mark_plan_terms()
returns trigger
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  update credits.credit_costs c
  set has_plan_terms = not c.has_plan_terms
  where c.has_plan_terms <> exists (select from credits.plan_features f where f.action_type = c.action_type);
  return null;
end
$$;

comment on function credits.mark_plan_terms() is
  'Trigger function of plan_features and credit_costs: marks the prices that some plan has terms of its own for.';

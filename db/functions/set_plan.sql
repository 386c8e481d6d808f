create or replace function credits.set_plan(
  p_plan_id text,
  p_plan_name text default null,
  p_debt_limit numeric default null,
  p_free_chat_seconds integer default null
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_plan credits.plans;
begin
  perform credits.check_argument(p_plan_id ~ '^[a-z][a-z0-9_-]{0,62}$', 'p_plan_id', 'must be a lower-case name');
  perform credits.check_argument(coalesce(length(p_plan_name) between 1 and 200, true), 'p_plan_name', 'must have 1 to 200 characters');
  if p_debt_limit is distinct from 0 and p_debt_limit is not null then
    perform credits.check_amount('p_debt_limit', p_debt_limit);
  end if;
  perform credits.check_argument(coalesce(p_free_chat_seconds between 0 and 86400, true), 'p_free_chat_seconds', 'must be 0 to 86400');

  if p_plan_name is not null then
    insert into credits.plans (plan_id, plan_name, debt_limit, free_chat_seconds)
    values (p_plan_id, p_plan_name, coalesce(p_debt_limit, 0), coalesce(p_free_chat_seconds, 0))
    on conflict (plan_id) do nothing;
  end if;

  update credits.plans p
  set plan_name = coalesce(p_plan_name, p.plan_name),
    debt_limit = coalesce(p_debt_limit, p.debt_limit),
    free_chat_seconds = coalesce(p_free_chat_seconds, p.free_chat_seconds)
  where p.plan_id = p_plan_id
  returning p.* into v_plan;
  perform credits.check_argument(found, 'p_plan_name', 'a new plan needs a name');
  return credits.outcome('ok', to_jsonb(v_plan) || jsonb_build_object('debt_limit', trim_scale(v_plan.debt_limit)));
end
$$;

comment on function credits.set_plan(text, text, numeric, integer) is
  'Adds a plan or changes one; what is null stays (a new plan needs a name; its debt limit and free chat seconds are 0 unless given). What it '
  'says of allowances and actions is set by set_allowance and set_feature. p_debt_limit, in credits, holds at once for the rows charged next: a'
  ' lower one takes no debt back. p_free_chat_seconds holds for the chat sessions opened next. Returns the row. Locks the plan''s row, which no'
  ' charge waits for. Raises UC001 for malformed arguments.';

create or replace function credits.allocations(
  p_allocations jsonb,
  p_grant_no bigint,
  p_source text,
  p_amount numeric
)
returns jsonb
language sql
stable
parallel safe
as $$
  select coalesce(p_allocations, case
    when p_grant_no is null or p_amount = 0 then '[]'
    else pg_catalog.jsonb_build_array(pg_catalog.jsonb_build_object(
      'grant', p_grant_no, 'amount', pg_catalog.trim_scale(pg_catalog.abs(p_amount)), 'source', p_source))
  end)
$$;

comment on function credits.allocations(jsonb, bigint, text, numeric) is
  'Internal. The grants that an entry drew on or gave to, with their sources and amounts, in the order of spending: its allocations, or the one grant that did. Has no '
  'setting, so that the planner inlines it.';

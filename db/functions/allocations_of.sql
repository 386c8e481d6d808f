create or replace function credits.allocations_of(p_entry credits.credit_ledger)
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_entry.allocations is not null then
    return p_entry.allocations;
  elsif p_entry.grant_no is null or p_entry.amount = 0 then
    return '[]';
  end if;
  return jsonb_build_array(jsonb_build_object('grant', p_entry.grant_no, 'amount', trim_scale(abs(p_entry.amount)), 'source', (
    select g.source
    from credits.stored_grants g
    where g.user_id = p_entry.user_id and g.credit_type = p_entry.credit_type and g.grant_no = p_entry.grant_no)));
end
$$;

comment on function credits.allocations_of(credits.credit_ledger) is
  'Internal. The grants that an entry drew on or gave to, with their sources and amounts, in the order of spending.';

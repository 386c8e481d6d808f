create or replace function credits.allocations_of(p_entry credits.credit_ledger)
returns jsonb
language plpgsql
stable
as $$
begin
  return credits.allocations(p_entry.allocations, p_entry.grant_no, (
    select g.source
    from credits.stored_grants g
    where g.user_id = p_entry.user_id and g.credit_type = p_entry.credit_type and g.grant_no = p_entry.grant_no), p_entry.amount);
end
$$;

comment on function credits.allocations_of(credits.credit_ledger) is 'Internal. allocations() of an entry.';

create or replace function credits.verify_ledger(p_user_id uuid default null)
returns table (
  user_id uuid,
  credit_type text,
  problem text,
  expected text,
  actual text
)
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_from uuid;
  v_to uuid;
begin
  if p_user_id is not null then
    return query select p.* from credits.verify_slice(p_user_id, p_user_id) p;
    return;
  end if;

  select a.user_id into v_from from credits.accounts a order by a.user_id limit 1;
  while v_from is not null loop
    select s.user_id into v_to
    from (select a.user_id from credits.accounts a where a.user_id >= v_from order by a.user_id limit 1000) s
    order by s.user_id desc
    limit 1;
    -- A slice is one statement and so one snapshot, however much is charged meanwhile.
    return query select p.* from credits.verify_slice(v_from, v_to) p;
    select a.user_id into v_from from credits.accounts a where a.user_id > v_to order by a.user_id limit 1;
  end loop;

  return query
    select l.user_id, l.credit_type, 'entries without an account', '0', count(*)::text
    from credits.credit_entries l
    where not exists (select from credits.accounts a where a.user_id = l.user_id)
    group by l.user_id, l.credit_type;
end
$$;

comment on function credits.verify_ledger(uuid) is
  'Proves the books of one user or of all, and returns a row per discrepancy (none: all is well): entry numbers without gaps, running '
  'balances that add up, wallet = ledger = grants - debt, every grant = what its entries left of it, keys of charged rows with their entry, '
  'charged minutes, usage roll-ups. Reads engine tables only, locks nothing, sees the rows that its caller may see; one snapshot per thousand users, so it '
  'is right while charges go on.';

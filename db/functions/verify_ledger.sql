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
  -- What one process looks at in one statement, for seconds.
  c_users constant integer := 12500;
  c_entries constant integer := 5000000;
  c_slices constant integer := 8;
  v_from uuid := '00000000-0000-0000-0000-000000000000';
  v_next uuid;
  v_firsts uuid[];
  v_lasts uuid[];
begin
  if p_user_id is not null then
    return query select p.* from credits.verify_slice(p_user_id, p_user_id, true) p;
    return;
  end if;

  -- Slices touch, from the lowest id to the highest, so that rows of users without an account are seen too.
  loop
    v_firsts := '{}';
    v_lasts := '{}';
    loop
      select s.user_id into v_next
      from (
        select a.user_id, row_number() over by_user as n, sum(w.entries) over by_user - w.entries as entries_before
        from (select a.user_id from credits.accounts a where a.user_id >= v_from order by a.user_id limit c_users + 1) a
        cross join lateral (select coalesce(sum(w.entry_no), 0) as entries from credits.wallets w where w.user_id = a.user_id) w
        window by_user as (order by a.user_id)
      ) s
      where s.n > c_users or s.n > 1 and s.entries_before >= c_entries
      order by s.user_id
      limit 1;
      v_firsts := v_firsts || v_from;
      v_lasts := v_lasts || coalesce(credits.id_before(v_next), 'ffffffff-ffff-ffff-ffff-ffffffffffff');
      v_from := v_next;
      exit when v_next is null or cardinality(v_lasts) = c_slices;
    end loop;

    -- One statement and so one snapshot, however much is charged meanwhile. PostgreSQL gives the parts of a union to the processes that it has.
    if cardinality(v_lasts) = 1 then
      return query select p.* from credits.verify_slice(v_firsts[1], v_lasts[1], false) p;
    else
      return query
        select p.* from credits.verify_slice(v_firsts[1], v_lasts[1], false) p
        union all
        select p.* from credits.verify_slice(v_firsts[2], v_lasts[2], false) p
        union all
        select p.* from credits.verify_slice(v_firsts[3], v_lasts[3], false) p where v_lasts[3] is not null
        union all
        select p.* from credits.verify_slice(v_firsts[4], v_lasts[4], false) p where v_lasts[4] is not null
        union all
        select p.* from credits.verify_slice(v_firsts[5], v_lasts[5], false) p where v_lasts[5] is not null
        union all
        select p.* from credits.verify_slice(v_firsts[6], v_lasts[6], false) p where v_lasts[6] is not null
        union all
        select p.* from credits.verify_slice(v_firsts[7], v_lasts[7], false) p where v_lasts[7] is not null
        union all
        select p.* from credits.verify_slice(v_firsts[8], v_lasts[8], false) p where v_lasts[8] is not null;
    end if;
    exit when v_next is null;
  end loop;
end
$$;

comment on function credits.verify_ledger(uuid) is
  'Proves the books of one user or of all, and returns a row per discrepancy (none: all is well): entry numbers without gaps, running '
  'balances that add up, wallet = ledger = grants - debt, every grant = what its entries left of it, keys of charged rows with their entry, '
  'charged minutes, usage roll-ups; of one user also that no entry is dated before the one before it (the worker''s sweeps look at that for all users). '
  'Reads engine tables only, locks nothing, sees the rows that its caller may see; one snapshot for at most 100,000 users, so it is right while charges go on; '
  'in parallel where max_parallel_workers_per_gather allows.';

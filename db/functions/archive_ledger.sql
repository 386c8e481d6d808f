create or replace function credits.archive_ledger(
  p_before timestamptz,
  p_limit integer default 1000
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_wallet credits.wallets;
  v_last credits.credit_ledger;
  v_allocations jsonb;
  v_moved integer;
  v_wallets integer := 0;
  v_entries bigint := 0;
begin
  perform credits.check_argument(p_before <= credits.clock_now(), 'p_before', 'must not be in the future');
  perform credits.check_argument(p_limit between 1 and 100000, 'p_limit', 'must be 1 to 100000');
  for v_wallet in
    select w.*
    from credits.wallets w
    where exists (
      select
      from (
        select l.entry_no, l.created_at
        from credits.credit_ledger l
        where l.user_id = w.user_id and l.credit_type = w.credit_type and l.kind <> 'opening'
        order by l.entry_no
        limit 1
      ) f
      where f.created_at < p_before and f.entry_no < w.entry_no)
    order by w.user_id, w.credit_type
    limit p_limit
    for no key update of w skip locked
  loop
    -- As it is by now: a trigger of the application's own may have changed it since it was fetched.
    v_wallet := credits.lock_wallet(v_wallet.user_id, v_wallet.credit_type);
    -- Times do not decrease within a wallet. Its newest entry stays.
    select l.* into v_last
    from credits.credit_ledger l
    where l.user_id = v_wallet.user_id and l.credit_type = v_wallet.credit_type and l.created_at < p_before and l.entry_no < v_wallet.entry_no
    order by l.entry_no desc
    limit 1;
    -- Another worker may have moved them since the statement above began.
    continue when not found or v_last.kind = 'opening';

    -- What all that moves, the opening entry before this one included, left in each grant and in debt.
    select jsonb_agg(jsonb_build_object('grant', m.grant_no, 'source', m.source, 'amount', trim_scale(m.amount)) order by m.grant_no, m.source)
    into v_allocations
    from (
      select p.grant_no, p.source, sum(p.amount) as amount
      from (
        select l.grant_no, g.source, l.amount
        from credits.credit_ledger l
        join credits.stored_grants g on g.user_id = l.user_id and g.credit_type = l.credit_type and g.grant_no = l.grant_no
        where l.user_id = v_wallet.user_id and l.credit_type = v_wallet.credit_type and l.entry_no <= v_last.entry_no
        union all
        select (d.value ->> 'grant')::bigint, d.value ->> 'source',
          case l.kind when 'opening' then 1 else sign(l.amount) end * (d.value ->> 'amount')::numeric
        from credits.credit_ledger l
        cross join lateral jsonb_array_elements(case jsonb_typeof(l.allocations) when 'array' then l.allocations else '[]' end) d
        where l.user_id = v_wallet.user_id and l.credit_type = v_wallet.credit_type and l.entry_no <= v_last.entry_no
      ) p
      group by p.grant_no, p.source
      having sum(p.amount) <> 0
    ) m;

    insert into credits.credit_ledger_archive
    select l.*
    from credits.credit_ledger l
    where l.user_id = v_wallet.user_id and l.credit_type = v_wallet.credit_type and l.entry_no <= v_last.entry_no and l.kind <> 'opening';
    get diagnostics v_moved = row_count;
    -- What must not be charged again stays where it is looked for.
    insert into credits.charge_keys (user_id, credit_type, source, key, function_name, entry_no, created_at, expires_at)
    -- Once each, so that a damaged wallet does not keep the others from being archived; verify_ledger() names it.
    select distinct on (l.row_source, l.row_id) l.user_id, l.credit_type, l.row_source, l.row_id, 'charge_rows', l.entry_no, l.created_at, 'infinity'::timestamptz
    from credits.credit_ledger l
    where l.user_id = v_wallet.user_id and l.credit_type = v_wallet.credit_type and l.entry_no <= v_last.entry_no and l.row_id is not null and l.row_source is not null
    order by l.row_source, l.row_id, l.entry_no
    on conflict (user_id, credit_type, source, key) do update set entry_no = excluded.entry_no, created_at = excluded.created_at;
    insert into credits.charge_keys
    select k.*
    from credits.credit_ledger l
    cross join lateral credits.key_of(l) k
    where l.user_id = v_wallet.user_id and l.credit_type = v_wallet.credit_type and l.entry_no <= v_last.entry_no and l.idempotency_key is not null
      and l.created_at + interval '720 hours' > credits.clock_now()
    on conflict (user_id, credit_type, source, key) do update set
      fingerprint = excluded.fingerprint,
      entry_no = excluded.entry_no,
      result = excluded.result,
      created_at = excluded.created_at,
      expires_at = excluded.expires_at;
    delete from credits.credit_ledger l
    where l.user_id = v_wallet.user_id and l.credit_type = v_wallet.credit_type and l.entry_no <= v_last.entry_no;
    insert into credits.credit_ledger
      (user_id, credit_type, entry_no, created_at, kind, amount, balance_after, allocations, actor, session_role, metadata)
    values
      (v_wallet.user_id, v_wallet.credit_type, v_last.entry_no, v_last.created_at, 'opening', v_last.balance_after, v_last.balance_after,
        coalesce(v_allocations, '[]'), credits.actor(), session_user, '{}');
    v_wallet.change_no := v_wallet.change_no + 1;
    perform credits.save_wallet(v_wallet);
    v_wallets := v_wallets + 1;
    v_entries := v_entries + v_moved;
  end loop;
  return credits.outcome('ok', jsonb_build_object('wallets', v_wallets, 'entries', v_entries));
end
$$;

comment on function credits.archive_ledger(timestamptz, integer) is
  'Moves the entries older than p_before of up to p_limit wallets into credit_ledger_archive, and leaves in credit_ledger, in place of the last one moved, an entry '
  'of kind opening: the balance by then, and in its allocations what was left in each grant (below zero: the debt). The newest entry of a wallet stays. Histories, refunds, replays, '
  'past balances and verify_ledger() read the archive too, so nothing else changes. Returns how many wallets and entries were moved: 0 when there are none '
  'left, or others hold the rest. Takes the wallets that nobody has locked, in ascending order, and holds them until the transaction ends. Raises UC001 for malformed arguments.';

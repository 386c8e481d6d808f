create or replace function credits.verify_slice(
  p_from uuid,
  p_to uuid,
  p_is_thorough boolean
)
returns table (
  user_id uuid,
  credit_type text,
  problem text,
  expected text,
  actual text
)
language plpgsql
stable
-- For verify_ledger(), which has several done at once; the cost is what the planner weighs that by.
parallel safe
cost 1000000
rows 10
set search_path = pg_catalog, pg_temp
-- One statement over many tables: compiling it costs more than it saves. Its memory is that of the users' facts, not of their entries.
set jit = off
set work_mem = '64MB'
-- Nothing here is worth sorting, but the planner takes the groups for many.
set enable_sort = off
set enable_incremental_sort = off
set enable_mergejoin = off
as $$
#variable_conflict use_column
begin
  return query
    with wallets as (
      select w.* from credits.wallets w where w.user_id between p_from and p_to
    ), everything as not materialized (
      select n.*, false as is_archived from credits.credit_ledger n where n.user_id between p_from and p_to
      union all
      select a.*, true from credits.credit_ledger_archive a where a.user_id between p_from and p_to
    ), entries as not materialized (
      select e.* from everything e where e.is_archived or e.kind <> 'opening'
    ), facts as materialized (
      -- The one look at every entry, in no order. That the balance before an entry is the one after its predecessor is a comparison of two sets, of
      -- pairs (entry_no, balance): they are the same if the hashes of all their members cancel each other out, but for the first and the last balance.
      -- The hash of a number sees neither its sign nor its magnitude; both are the same in all after the addition. Quantities are mostly 1, which is quicker
      -- counted than added. Said for each table, as one union of their entries takes a third longer.
      select l.user_id, l.credit_type, l.grant_no, l.kind, l.action_type, false as is_archived, (l.entry_no <= r.entry_no) is true as is_rolled_up,
        count(*) as entries, max(l.entry_no) as entry_no, max(l.created_at) as entry_at, sum(l.amount) as amount,
        count(l.quantity) + coalesce(sum(l.quantity - 1) filter (where l.quantity <> 1), 0.000000) as quantity,
        bit_xor(hash_numeric_extended(300000000000000 + l.balance_after, l.entry_no)
          # hash_numeric_extended(300000000000000 + l.balance_after - l.amount, l.entry_no - 1)) as chain,
        bool_and((l.amount = case when l.quantity = 1 then -l.unit_price else -round(l.unit_price * l.quantity, 6) end and l.amount <= 0) is true)
          as is_priced,
        0::bigint as row_keys, 0::bigint as rows, bool_and(l.key_hash is not distinct from credits.key_hash(l.user_id, coalesce(l.row_id, l.idempotency_key))
          and (l.row_source is null) = (l.row_id is null)) as is_found
      from credits.credit_ledger l
      left join credits.usage_rollups r on r.user_id = l.user_id and r.credit_type = l.credit_type
      where l.user_id between p_from and p_to and l.kind <> 'opening'
      group by l.user_id, l.credit_type, l.grant_no, l.kind, l.action_type, (l.entry_no <= r.entry_no) is true
      union all
      select l.user_id, l.credit_type, l.grant_no, l.kind, l.action_type, true, (l.entry_no <= r.entry_no) is true as is_rolled_up,
        count(*) as entries, max(l.entry_no) as entry_no, max(l.created_at) as entry_at, sum(l.amount) as amount,
        count(l.quantity) + coalesce(sum(l.quantity - 1) filter (where l.quantity <> 1), 0.000000) as quantity,
        bit_xor(hash_numeric_extended(300000000000000 + l.balance_after, l.entry_no)
          # hash_numeric_extended(300000000000000 + l.balance_after - l.amount, l.entry_no - 1)) as chain,
        bool_and((l.amount = case when l.quantity = 1 then -l.unit_price else -round(l.unit_price * l.quantity, 6) end and l.amount <= 0) is true)
          as is_priced,
        bit_xor(hashtextextended(l.row_id, hashtextextended(l.row_source, l.entry_no))) as row_keys, count(l.row_source) as rows, true
      from credits.credit_ledger_archive l
      left join credits.usage_rollups r on r.user_id = l.user_id and r.credit_type = l.credit_type
      where l.user_id between p_from and p_to
      group by l.user_id, l.credit_type, l.grant_no, l.kind, l.action_type, (l.entry_no <= r.entry_no) is true
    ), books as materialized (
      select f.user_id, f.credit_type, sum(f.entries) as entries, max(f.entry_no) as entry_no, sum(f.amount) as amount, max(f.entry_at) as entry_at,
        bit_xor(f.row_keys) as row_keys, sum(f.rows) as rows,
        p_is_thorough or sum(f.entries) <> max(f.entry_no)
          or bit_xor(f.chain) <> hash_numeric_extended(300000000000000 + sum(f.amount), max(f.entry_no)) # hash_numeric_extended(300000000000000, 0)
          or bool_or(case when f.kind = 'usage' then f.action_type is null or not f.is_priced
            else f.kind not in ('grant', 'hold', 'release', 'refund', 'expiry', 'revocation', 'adjustment', 'debt') end) as is_doubtful,
        bool_and(f.is_found) as is_found
      from facts f
      group by f.user_id, f.credit_type
    ), doubtful as materialized (
      -- The wallets in which something is wrong, and those whose times are to be looked at too, entry by entry.
      select d.*
      from books b
      cross join lateral (
        select l.*,
          lag(l.entry_no, 1, 0::bigint) over by_number + 1 as expected_no,
          lag(l.balance_after, 1, 0::numeric) over by_number + l.amount as expected_balance,
          lag(l.created_at) over by_number as earlier_at,
          (l.kind <> 'usage' or l.amount = -round(l.unit_price * l.quantity, 6) and l.amount <= 0 and l.action_type is not null) is true as is_priced
        from entries l
        where l.user_id = b.user_id and l.credit_type = b.credit_type
        window by_number as (order by l.entry_no)
      ) d
      where b.is_doubtful and (d.entry_no <> d.expected_no or d.balance_after <> d.expected_balance or d.created_at < d.earlier_at or not d.is_priced
        or d.kind not in ('grant', 'usage', 'hold', 'release', 'refund', 'expiry', 'revocation', 'adjustment', 'debt'))
    ), row_keys as (
      select k.user_id, k.credit_type, bit_xor(hashtextextended(k.key, hashtextextended(k.source, k.entry_no))) as row_keys, count(*) as rows
      from credits.charge_keys k
      where k.user_id between p_from and p_to and k.source <> 'caller' and k.entry_no is not null
      group by k.user_id, k.credit_type
    ), miskeyed as materialized (
      -- The wallets whose archived charges of rows and their keys are not the same, which is compared as the balances are. Of others, the entry is the key.
      select coalesce(b.user_id, k.user_id) as user_id, coalesce(b.credit_type, k.credit_type) as credit_type
      from books b
      full join row_keys k on k.user_id = b.user_id and k.credit_type = b.credit_type
      where coalesce(b.row_keys, 0) <> coalesce(k.row_keys, 0) or coalesce(b.rows, 0) <> coalesce(k.rows, 0)
    ), noted as materialized (
      -- All but what a usual charge leaves, which is an amount taken from a grant.
      select e.*, (
          select sum((d.value ->> 'amount')::numeric)
          from jsonb_array_elements(case jsonb_typeof(e.allocations) when 'array' then e.allocations else '[]' end) d
        ) as allocated
      from everything e
      where e.kind <> 'usage' or e.grant_no is null or e.allocations is not null or e.counted_in is not null
        or e.duration_seconds is not null or e.related_entry_no is not null or e.reference is not null
    ), openings as not materialized (
      select n.* from noted n where not n.is_archived and n.kind = 'opening'
    ), special as not materialized (
      select n.* from noted n where n.is_archived or n.kind <> 'opening'
    ), archived as (
      select distinct on (a.user_id, a.credit_type) a.user_id, a.credit_type, a.entry_no, a.created_at, a.balance_after
      from credits.credit_ledger_archive a
      where a.user_id between p_from and p_to
      order by a.user_id, a.credit_type, a.entry_no desc
    ), parts as (
      select e.user_id, e.credit_type, e.entry_no, (d.value ->> 'grant')::bigint as grant_no, sign(e.amount) * (d.value ->> 'amount')::numeric as amount,
        d.value ->> 'source' as source, e.is_archived
      from special e
      cross join lateral jsonb_array_elements(case jsonb_typeof(e.allocations) when 'array' then e.allocations else '[]' end) d
      where e.allocations is not null
    ), movements as (
      -- What was taken from a grant (below zero) or given to it.
      select f.user_id, f.credit_type, f.grant_no, f.amount, f.is_archived from facts f where f.grant_no is not null
      union all
      select p.user_id, p.credit_type, p.grant_no, p.amount, p.is_archived from parts p
    ), drawn as (
      select m.user_id, m.credit_type, m.grant_no, sum(m.amount) as amount
      from movements m
      group by m.user_id, m.credit_type, m.grant_no
    ), grants as (
      select g.* from credits.credit_grants g where g.user_id between p_from and p_to
    ), sums as (
      -- What the rest of the books says of a wallet.
      select a.user_id, a.credit_type, sum(a.remaining) as remaining, min(a.due_at) as due_at, sum(a.debt) as debt, sum(a.purchase_debt) as purchase_debt,
        sum(a.held) as held, sum(a.reserved) as reserved, sum(a.owed) as owed
      from (
        select g.user_id, g.credit_type, g.remaining, case when g.remaining > 0 then g.expires_at end as due_at,
          null::numeric as debt, null::numeric as purchase_debt, null::numeric as held, null::numeric as reserved, null::numeric as owed
        from grants g
        union all
        select p.user_id, p.credit_type, null, null, case when p.grant_no is null then -p.amount end,
          case when p.source = 'purchase_debt' then -p.amount end, null, null, null
        from parts p
        where p.grant_no is null or p.source = 'purchase_debt'
        union all
        select e.user_id, e.credit_type, null, null, null, null, -e.amount, null, null
        from special e
        where e.kind in ('hold', 'release')
        union all
        select r.user_id, r.credit_type, null, r.expires_at, null, null, null, r.amount, null
        from credits.credit_reservations r
        where r.user_id between p_from and p_to and r.status = 'held'
        union all
        select s.user_id, s.credit_type, null, null, null, null, null, null, s.credits_owed
        from credits.chat_sessions s
        where s.user_id between p_from and p_to
      ) a
      group by a.user_id, a.credit_type
    ), rolled_up as (
      select d.user_id, d.credit_type, d.action_type,
        format('%s uses, quantity %s, amount %s, refunded %s', sum(d.uses), sum(d.quantity), sum(d.amount), sum(d.refunded)) as said
      from credits.usage_daily d
      where d.user_id between p_from and p_to
      group by d.user_id, d.credit_type, d.action_type
    ), used as (
      select f.user_id, f.credit_type, coalesce(f.action_type, '') as action_type,
        format('%s uses, quantity %s, amount %s, refunded %s', coalesce(sum(f.entries) filter (where f.kind = 'usage'), 0),
          coalesce(sum(f.quantity) filter (where f.kind = 'usage'), 0.000000), coalesce(-sum(f.amount) filter (where f.kind = 'usage'), 0.000000),
          coalesce(sum(f.amount) filter (where f.kind = 'refund'), 0.000000)) as said
      from facts f
      where f.is_rolled_up and f.kind in ('usage', 'refund')
      group by f.user_id, f.credit_type, coalesce(f.action_type, '')
    )
    select c.user_id, c.credit_type, k.problem, k.expected, k.actual
    from (
      select coalesce(w.user_id, b.user_id) as user_id, coalesce(w.credit_type, b.credit_type) as credit_type, w.entry_no, w.last_entry_at, w.next_due_at,
        w.is_active, w.balance, w.held, w.debt, w.purchase_debt, w.owed, w.open_remaining, w.open_grant_no,
        coalesce(b.entry_no, 0) as booked_no, b.entry_at as booked_at, coalesce(b.amount, 0) as booked, b.entries, a.user_id as account_id, a.status,
        coalesce(s.remaining, 0) - w.debt as granted, coalesce(s.debt, 0) as noted_debt, coalesce(s.purchase_debt, 0) as noted_purchase_debt,
        coalesce(s.held, 0) as noted_held, coalesce(s.reserved, 0) as reserved, coalesce(s.owed, 0) as sessions_owe, least(w.next_reset_at, s.due_at) as due_at,
        w.held < 0 or w.debt < 0 or w.purchase_debt < 0 or w.purchase_debt > w.debt or w.owed < 0 or w.open_remaining < 0
          or w.open_remaining > w.balance + w.debt or num_nulls(w.open_grant_no, w.open_remaining) not in (0, 2) as is_out_of_range
      from wallets w
      full join books b on b.user_id = w.user_id and b.credit_type = w.credit_type
      left join sums s on s.user_id = w.user_id and s.credit_type = w.credit_type
      left join credits.accounts a on a.user_id = coalesce(w.user_id, b.user_id)
    ) c
    cross join lateral (
      values
        (c.entry_no is distinct from c.booked_no, 'newest entry number of the wallet', c.booked_no::text, c.entry_no::text),
        (c.balance is distinct from c.booked, 'wallet balance against the ledger', c.booked::text, c.balance::text),
        (c.balance <> c.granted, 'wallet balance against the grants less the debt', c.granted::text, c.balance::text),
        (c.debt <> c.noted_debt, 'debt', c.noted_debt::text, c.debt::text),
        (c.purchase_debt <> c.noted_purchase_debt, 'debt of refunded purchases', c.noted_purchase_debt::text, c.purchase_debt::text),
        (c.held <> c.noted_held, 'held by the wallet against the ledger', c.noted_held::text, c.held::text),
        (c.held <> c.reserved, 'held by the wallet against its reservations', c.reserved::text, c.held::text),
        (c.owed <> c.sessions_owe, 'owed by the wallet against its chat sessions', c.sessions_owe::text, c.owed::text),
        (c.is_active is distinct from (c.status = 'active') and c.entry_no is not null, 'whether the wallet may spend', c.status,
          case when c.is_active then 'active' else 'not active' end),
        -- No operation is dated before it, so a wrong one would make credits expire and renew before their time.
        (c.last_entry_at <> c.booked_at, 'time of the newest entry of the wallet', c.booked_at::text, c.last_entry_at::text),
        (c.next_due_at > c.due_at, 'when the wallet is due next', 'by ' || c.due_at, c.next_due_at::text),
        (c.is_out_of_range, 'held, debt and open grant of the wallet', 'none below zero, the open grant within the balance',
          format('held %s, debt %s, open %s of grant %s', c.held, c.debt, c.open_remaining, c.open_grant_no)),
        (c.account_id is null and c.entries > 0, 'entries without an account', '0', c.entries::text)
    ) k (is_wrong, problem, expected, actual)
    -- Usually nothing is wrong, which one comparison shows.
    where k.is_wrong
      and ((c.entry_no, c.balance, c.balance, c.debt, c.purchase_debt, c.held, c.held, c.owed, c.last_entry_at, c.is_active)
          is distinct from (c.booked_no, c.booked, c.granted, c.noted_debt, c.noted_purchase_debt, c.noted_held, c.reserved, c.sessions_owe,
            coalesce(c.booked_at, c.last_entry_at), c.status = 'active')
        or c.next_due_at > c.due_at or c.is_out_of_range)
    union all
    select coalesce(o.user_id, a.user_id), coalesce(o.credit_type, a.credit_type), 'opening entry against the archive',
      concat_ws(' ', 'entry', a.entry_no, 'with a balance of', a.balance_after), concat_ws(' ', 'entry', o.entry_no, 'with a balance of', o.balance_after)
    from openings o
    full join archived a on a.user_id = o.user_id and a.credit_type = o.credit_type
    where (o.entry_no, o.created_at, o.balance_after, o.amount) is distinct from (a.entry_no, a.created_at, a.balance_after, a.balance_after)
    union all
    select coalesce(o.user_id, m.user_id), coalesce(o.credit_type, m.credit_type), format('grant %s in the opening entry', coalesce(o.grant_no, m.grant_no)),
      coalesce(m.amount, 0)::text, coalesce(o.amount, 0)::text
    from (
      select m.user_id, m.credit_type, m.grant_no, sum(m.amount) as amount
      from movements m
      where m.is_archived
      group by m.user_id, m.credit_type, m.grant_no
    ) m
    full join (
      select o.user_id, o.credit_type, (d.value ->> 'grant')::bigint as grant_no, sum((d.value ->> 'amount')::numeric) as amount
      from openings o
      cross join lateral jsonb_array_elements(case jsonb_typeof(o.allocations) when 'array' then o.allocations else '[]' end) d
      group by o.user_id, o.credit_type, (d.value ->> 'grant')::bigint
    ) o on o.user_id = m.user_id and o.credit_type = m.credit_type and coalesce(o.grant_no, 0) = coalesce(m.grant_no, 0)
    where coalesce(m.amount, 0) <> coalesce(o.amount, 0)
    union all
    select e.user_id, e.credit_type, 'entry number', e.expected_no::text, e.entry_no::text
    from doubtful e where e.entry_no <> e.expected_no
    union all
    select e.user_id, e.credit_type, format('balance after entry %s', e.entry_no), e.expected_balance::text, e.balance_after::text
    from doubtful e where e.balance_after <> e.expected_balance
    union all
    select e.user_id, e.credit_type, format('kind and price of entry %s', e.entry_no), 'a known kind; action, price and quantity for usage', e.kind
    from doubtful e
    where e.kind not in ('grant', 'usage', 'hold', 'release', 'refund', 'expiry', 'revocation', 'adjustment', 'debt')
      or (e.kind = 'usage' and (e.amount > 0 or num_nulls(e.action_type, e.unit_price, e.quantity) > 0))
    union all
    select e.user_id, e.credit_type, format('amount of entry %s against its price', e.entry_no),
      (-credits.amount_of(e.unit_price, e.quantity))::text, e.amount::text
    from doubtful e
    where e.kind = 'usage' and e.amount <> -round(e.unit_price * e.quantity, 6) and e.amount <> -credits.amount_of(e.unit_price, e.quantity)
    union all
    select g.user_id, g.credit_type, format('grant %s against its entry', g.grant_no), coalesce(e.kind || ' of ' || e.amount, 'none'),
      g.source || ' grant of ' || g.amount
    from grants g
    left join special e on e.user_id = g.user_id and e.credit_type = g.credit_type and e.entry_no = g.grant_no
    where (e.kind in ('grant', 'refund'), e.amount) is distinct from (true, g.amount)
      or exists (
        select from jsonb_array_elements(case jsonb_typeof(e.allocations) when 'array' then e.allocations else '[]' end) d
        where d.value ->> 'grant' is not null and d.value ->> 'source' is distinct from g.source)
    union all
    select coalesce(e.user_id, r.user_id), coalesce(e.credit_type, r.credit_type),
      format('hold of reservation %s', coalesce(r.reservation_id, e.reference_id)),
      case when e.entry_no is null then 'none' else format('%s x %s %s: %s from %s', e.quantity, e.unit_price, e.action_type, -e.amount, e.allocations) end,
      case when r.user_id is null then 'none' else format('%s x %s %s: %s from %s', r.quantity, r.unit_price, r.action_type, r.amount, r.allocations) end
    from (select * from special e where e.kind = 'hold') e
    full join (select * from credits.credit_reservations r where r.user_id between p_from and p_to) r
      on r.user_id = e.user_id and r.credit_type = e.credit_type and r.hold_entry_no = e.entry_no and r.reservation_id = e.reference_id
    where (e.action_type, e.unit_price, e.quantity, -e.amount, e.allocations)
      is distinct from (r.action_type, r.unit_price, r.quantity, r.amount, r.allocations)
    union all
    select r.user_id, r.credit_type, format('settlement of reservation %s', r.reservation_id),
      case r.status when 'committed' then 'usage' else 'release' end, coalesce(e.kind, 'none')
    from credits.credit_reservations r
    left join special e on e.user_id = r.user_id and e.credit_type = r.credit_type and e.entry_no = r.settled_entry_no
      and e.reference_id = r.reservation_id
    where r.user_id between p_from and p_to and r.status <> 'held'
      and e.kind is distinct from case r.status when 'committed' then 'usage' else 'release' end
    union all
    select f.user_id, f.credit_type, format('refunds of entry %s', f.log_id), 'at most ' || coalesce(-e.amount, 0), f.amount::text
    from (
      select r.user_id, r.credit_type, r.log_id, sum(r.amount) as amount
      from credits.credit_refunds r
      where r.user_id between p_from and p_to
      group by r.user_id, r.credit_type, r.log_id
    ) f
    left join entries e on e.user_id = f.user_id and e.credit_type = f.credit_type and e.entry_no = f.log_id and e.kind = 'usage'
    where f.amount > coalesce(-e.amount, 0)
    union all
    select coalesce(e.user_id, r.user_id), coalesce(e.credit_type, r.credit_type), format('amount of refund %s', coalesce(e.entry_no, r.refund_no)),
      coalesce(r.amount::text, 'none'), coalesce(e.amount::text, 'none')
    from (select * from special e where e.kind = 'refund') e
    full join (select * from credits.credit_refunds r where r.user_id between p_from and p_to) r
      on r.user_id = e.user_id and r.credit_type = e.credit_type and r.log_id = e.related_entry_no and r.refund_no = e.entry_no
    where r.amount is distinct from e.amount
    union all
    select p.user_id, 'credits', format('grant of purchase %s', p.purchase_id),
      case when p.status in ('paid', 'refunded') then 'purchased grant of ' || p.credits else 'none' end,
      coalesce(g.source || ' grant of ' || g.amount, 'none')
    from credits.credit_purchases p
    left join grants g on g.user_id = p.user_id and g.credit_type = 'credits' and g.grant_no = p.grant_no
    where p.user_id between p_from and p_to
      and case when p.status in ('paid', 'refunded') then (g.source, g.amount) is distinct from ('purchased', p.credits)
        else p.grant_no is not null end
    union all
    -- What a refund takes or gives back is told by its kind and the grant that it follows from.
    select p.user_id, 'credits', format('credits taken back of purchase %s', p.purchase_id), coalesce(-e.amount, 0)::text, p.refunded_credits::text
    from credits.credit_purchases p
    left join (
      select e.user_id, e.related_entry_no, sum(e.amount) as amount
      from special e
      where e.credit_type = 'credits' and e.kind in ('revocation', 'debt', 'adjustment', 'grant') and e.related_entry_no is not null
      group by e.user_id, e.related_entry_no
    ) e on e.user_id = p.user_id and e.related_entry_no = p.grant_no
    where p.user_id between p_from and p_to and coalesce(-e.amount, 0) <> p.refunded_credits
    union all
    select p.user_id, 'credits', format('refunds of purchase %s', p.purchase_id),
      format('%s for %s', coalesce(r.credits, 0)::numeric(20,6), coalesce(r.amount_minor, 0)), format('%s for %s', p.refunded_credits, p.refunded_minor)
    from credits.credit_purchases p
    left join (
      select r.user_id, r.purchase_id, sum(r.credits) as credits, sum(r.amount_minor) as amount_minor
      from credits.credit_purchase_refunds r
      where r.user_id between p_from and p_to and r.reinstated_at is null
      group by r.user_id, r.purchase_id
    ) r on r.user_id = p.user_id and r.purchase_id = p.purchase_id
    where p.user_id between p_from and p_to
      and (coalesce(r.credits, 0) <> p.refunded_credits or coalesce(r.amount_minor, 0) <> p.refunded_minor)
    union all
    select coalesce(u.user_id, e.user_id), null, format('counter of %s in %s', coalesce(u.action_type, e.action_type), coalesce(u.counter, e.counter)),
      coalesce(e.quantity, 0)::text, coalesce(u.used, 0)::text
    from (
      select u.user_id, u.action_type, u.period || ' ' || u.period_no as counter, u.used
      from credits.usage_counters u
      where u.user_id between p_from and p_to
    ) u
    full join (
      select c.user_id, c.action_type, c.counter, sum(c.quantity) as quantity
      from (
        select e.user_id, e.action_type, e.counted_in as counter, e.quantity from special e where e.counted_in is not null
        union all
        select r.user_id, r.action_type, r.limit_period || ' ' || r.limit_period_no, r.quantity
        from credits.credit_reservations r
        where r.user_id between p_from and p_to and r.status = 'held' and r.limit_period is not null
      ) c
      group by c.user_id, c.action_type, c.counter
    ) e on e.user_id = u.user_id and e.action_type = u.action_type and e.counter = u.counter
    where coalesce(e.quantity, 0) <> coalesce(u.used, 0)
    union all
    select coalesce(s.user_id, e.user_id), coalesce(s.credit_type, e.credit_type),
      format('credits used of chat session %s', coalesce(s.session_id, e.reference_id)),
      format('%s in the ledger, %s of %s each', coalesce(-e.amount, 0), s.charged_intervals, s.rate), coalesce(s.credits_used::text, 'no session')
    from (select * from credits.chat_sessions s where s.user_id between p_from and p_to) s
    full join (
      select e.user_id, e.credit_type, e.reference_id, e.action_type, sum(e.amount) as amount, sum(e.quantity) as quantity
      from special e
      where e.kind = 'usage' and e.reference = 'chat session'
      group by e.user_id, e.credit_type, e.reference_id, e.action_type
    ) e on e.user_id = s.user_id and e.credit_type = s.credit_type and e.reference_id = s.session_id and e.action_type = s.action_type
    where (s.credits_used, s.credits_used, s.charged_intervals)
      is distinct from (coalesce(-e.amount, 0), coalesce(s.charged_intervals * s.rate, 0), coalesce(e.quantity, 0))
    union all
    select s.user_id, s.credit_type, format('credits owed by chat session %s', s.session_id), o.amount::text, s.credits_owed::text
    from credits.chat_sessions s
    cross join lateral (
      select coalesce((greatest(s.elapsed_seconds - s.free_seconds, 0) / s.interval_seconds - s.charged_intervals) * s.rate, 0) as amount
    ) o
    where s.user_id between p_from and p_to and (s.credits_owed <> o.amount or o.amount < 0)
    union all
    select l.user_id, l.credit_type, format('row and hash of the key of entry %s', l.entry_no),
      concat_ws(' ', coalesce(l.row_source, 'a source'), 'with', credits.key_hash(l.user_id, coalesce(l.row_id, l.idempotency_key))),
      concat_ws(' ', l.row_source, 'with', l.key_hash)
    from books b
    join credits.credit_ledger l on l.user_id = b.user_id and l.credit_type = b.credit_type
    where not b.is_found and (l.key_hash is distinct from credits.key_hash(l.user_id, coalesce(l.row_id, l.idempotency_key))
      or (l.row_source is null) <> (l.row_id is null))
    union all
    select e.user_id, e.credit_type, format('row %s of %s is charged more than once', e.row_id, e.row_source), 'one entry', 'entries ' || string_agg(e.entry_no::text, ', ')
    from entries e
    where p_is_thorough and e.row_id is not null
    group by e.user_id, e.credit_type, e.row_source, e.row_id
    having count(*) > 1
    union all
    select u.user_id, u.credit_type, format('row %s of %s is listed as uncharged', k.id, u.source), 'not charged', 'charged'
    from (
      select u.user_id, u.credit_type, u.source, array_agg(u.row_id) as row_ids
      from credits.uncharged_rows u
      where u.user_id between p_from and p_to
      group by u.user_id, u.credit_type, u.source
    ) u
    cross join lateral credits.known_rows(u.user_id, u.credit_type, u.source, u.row_ids, false) as k (id)
    union all
    select e.user_id, e.credit_type, format('time of entry %s is before the one before it', e.entry_no), e.earlier_at::text, e.created_at::text
    from doubtful e where e.created_at < e.earlier_at
    union all
    select e.user_id, e.credit_type, format('allocations of entry %s', e.entry_no), e.amount::text, (sign(e.amount) * coalesce(e.allocated, 0))::text
    from special e
    where (e.grant_no is null or e.allocations is not null) and sign(e.amount) * coalesce(e.allocated, 0) <> e.amount or (e.grant_no is not null and e.allocations is not null)
      or jsonb_typeof(e.allocations) <> 'array'
    union all
    select coalesce(g.user_id, d.user_id), coalesce(g.credit_type, d.credit_type),
      format('what is left of grant %s', coalesce(g.grant_no, d.grant_no)), coalesce(d.amount, 0)::text, g.remaining::text
    from grants g
    full join (select * from drawn where grant_no is not null) d
      on d.user_id = g.user_id and d.credit_type = g.credit_type and d.grant_no = g.grant_no
    where coalesce(d.amount, 0) is distinct from g.remaining
    union all
    select k.user_id, k.credit_type, format('entry of the key %s of %s', k.key, k.source), k.entry_no::text, 'none'
    from credits.charge_keys k
    left join books b on b.user_id = k.user_id and b.credit_type = k.credit_type
    where k.user_id between p_from and p_to and k.source = 'caller' and k.entry_no is not null and (k.entry_no between 1 and b.entry_no) is not true
    union all
    select k.user_id, k.credit_type, format('entry of the key %s of %s', k.key, k.source), k.entry_no::text, 'none'
    from miskeyed m
    join credits.charge_keys k on k.user_id = m.user_id and k.credit_type = m.credit_type
    left join credits.credit_ledger_archive e on e.user_id = k.user_id and e.credit_type = k.credit_type and e.entry_no = k.entry_no
    where k.source <> 'caller' and k.entry_no is not null and (e.row_source, e.row_id) is distinct from (k.source, k.key)
    union all
    select e.user_id, e.credit_type, format('key of entry %s, charged for %s of %s', e.entry_no, e.row_id, e.row_source), e.entry_no::text, 'none'
    from miskeyed m
    join credits.credit_ledger_archive e on e.user_id = m.user_id and e.credit_type = m.credit_type
    left join credits.charge_keys k on k.user_id = e.user_id and k.credit_type = e.credit_type and k.source = e.row_source and k.key = e.row_id
    where e.row_source is not null and k.entry_no is distinct from e.entry_no
    union all
    -- Per action, not per day: a day is that of the time zone which the account had when it was rolled up.
    select coalesce(u.user_id, r.user_id), coalesce(u.credit_type, r.credit_type),
      format('roll-up of %s', coalesce(u.action_type, r.action_type)), coalesce(u.said, 'none'), coalesce(r.said, 'none')
    from used u
    full join rolled_up r on r.user_id = u.user_id and r.credit_type = u.credit_type and r.action_type = u.action_type
    where u.said is distinct from r.said
    union all
    select r.user_id, r.credit_type, 'last entry rolled up', 'at most ' || coalesce(w.entry_no, 0), r.entry_no::text
    from credits.usage_rollups r
    left join wallets w on w.user_id = r.user_id and w.credit_type = r.credit_type
    where r.user_id between p_from and p_to and r.entry_no > coalesce(w.entry_no, 0)
    union all
    select coalesce(p.payer_id, o.user_id), 'credits',
      format('payment %s of %s', coalesce(p.provider_reference, o.provider_reference), coalesce(p.provider, o.provider)),
      coalesce('completed purchase ' || p.purchase_id, 'completed none of the user''s'), coalesce('completed purchase ' || o.purchase_id, 'completed none')
    from (select * from credits.payments p where p.payer_id between p_from and p_to) p
    full join (select * from credits.credit_purchases o where o.user_id between p_from and p_to and o.grant_no is not null) o
      on o.user_id = p.payer_id and o.purchase_id = p.purchase_id and o.provider = p.provider and o.provider_reference = p.provider_reference
    where p.payer_id is null or o.user_id is null
    union all
    select t.user_id, 'credits', 'automatic top-up under way', 'a pending top-up', concat_ws(' ', 'purchase', t.purchase_id, o.status)
    from credits.top_ups t
    left join credits.credit_purchases o on o.user_id = t.user_id and o.purchase_id = t.purchase_id
    where t.user_id between p_from and p_to and t.purchase_id is not null and (o.status, o.is_top_up) is distinct from ('pending', true)
    union all
    select a.user_id, null, 'minutes of charged calls', coalesce(m.minutes, 0)::text, a.total_minutes_used::text
    from credits.accounts a
    left join (
      select e.user_id, sum(e.quantity)::bigint as minutes from special e where e.duration_seconds is not null group by e.user_id
    ) m on m.user_id = a.user_id
    where a.user_id between p_from and p_to and coalesce(m.minutes, 0) <> a.total_minutes_used;
end
$$;

comment on function credits.verify_slice(uuid, uuid, boolean) is
  'Internal. verify_ledger for the users between two ids, in one statement and so in one snapshot; when thorough, with the order of the times of all entries and the rows that have two, '
  'which takes several times as long.';

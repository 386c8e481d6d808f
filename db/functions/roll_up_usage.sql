create or replace function credits.roll_up_usage(
  p_after uuid default null,
  p_limit integer default 1000
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_users uuid[];
  v_wallet record;
  v_mark bigint;
  v_newest bigint;
  v_entries bigint;
  v_wallets integer := 0;
  v_total bigint := 0;
begin
  perform credits.check_argument(p_limit between 1 and 100000, 'p_limit', 'must be 1 to 100000');

  select array_agg(u.user_id order by u.user_id) into v_users
  from (
    select a.user_id
    from credits.accounts a
    where a.user_id >= coalesce(p_after, '00000000-0000-0000-0000-000000000000') and a.user_id is distinct from p_after
    order by a.user_id
    limit p_limit
  ) u;

  for v_wallet in
    select w.user_id, w.credit_type, a.time_zone, a.period_anchor
    from credits.wallets w
    join credits.accounts a on a.user_id = w.user_id
    left join credits.usage_rollups r on r.user_id = w.user_id and r.credit_type = w.credit_type
    where w.user_id = any (v_users) and w.entry_no > coalesce(r.entry_no, 0)
    order by w.user_id, w.credit_type
  loop
    insert into credits.usage_rollups (user_id, credit_type, entry_no)
    values (v_wallet.user_id, v_wallet.credit_type, 0)
    on conflict (user_id, credit_type) do nothing;
    select r.entry_no into v_mark
    from credits.usage_rollups r
    where r.user_id = v_wallet.user_id and r.credit_type = v_wallet.credit_type
    for update skip locked;
    continue when not found;

    -- A wallet's entries commit in the order of their numbers, so none below the greatest one seen here can appear later.
    with e as materialized (
      select l.entry_no, l.kind, l.amount, l.quantity, coalesce(l.action_type, '') as action_type,
        (l.created_at at time zone v_wallet.time_zone)::date as day,
        case when l.kind in ('usage', 'refund') then
          credits.period_number(v_wallet.period_anchor, v_wallet.time_zone, 'day', l.created_at)
        end as period_no
      from credits.credit_entries l
      where l.user_id = v_wallet.user_id and l.credit_type = v_wallet.credit_type and l.entry_no > v_mark
    ), d as (
      insert into credits.usage_daily as t (user_id, day, credit_type, action_type, period_no, uses, quantity, amount, refunded)
      select v_wallet.user_id, e.day, v_wallet.credit_type, e.action_type, e.period_no,
        count(*) filter (where e.kind = 'usage'),
        coalesce(sum(e.quantity) filter (where e.kind = 'usage'), 0),
        coalesce(-sum(e.amount) filter (where e.kind = 'usage'), 0),
        coalesce(sum(e.amount) filter (where e.kind = 'refund'), 0)
      from e
      where e.kind in ('usage', 'refund')
      group by e.day, e.action_type, e.period_no
      on conflict (user_id, day, credit_type, action_type, period_no) do update set
        uses = t.uses + excluded.uses,
        quantity = t.quantity + excluded.quantity,
        amount = t.amount + excluded.amount,
        refunded = t.refunded + excluded.refunded
    )
    select max(e.entry_no), count(e.period_no) into v_newest, v_entries
    from e;
    continue when v_newest is null;

    update credits.usage_rollups r
    set entry_no = v_newest
    where r.user_id = v_wallet.user_id and r.credit_type = v_wallet.credit_type;
    v_wallets := v_wallets + 1;
    v_total := v_total + v_entries;
  end loop;

  return credits.outcome('ok', jsonb_build_object(
    'entries', v_total,
    'wallets', v_wallets,
    'last_user_id', case when cardinality(v_users) = p_limit then v_users[p_limit] end));
end
$$;

comment on function credits.roll_up_usage(uuid, integer) is
  'Adds the usage and refund entries that are new in the ledger to usage_daily, for up to p_limit accounts after p_after in the order of their '
  'ids. Returns how many entries and wallets, and last_user_id: pass it as p_after to go on; null when the sweep is complete. What get_usage_stats and '
  'get_feature_usage say does not depend on when this runs; only their cost does. Locks the wallets'' rows in usage_rollups and skips those that '
  'another worker has locked, waiting only where another one is just making such a row; never waits for a charge and is not waited for by one. Raises UC001 for a p_limit out of range.';

create or replace function credits.due_steps(
  p_user_id uuid,
  p_credit_type text,
  p_now timestamptz
)
returns table (
  due_at timestamptz,
  kind text,
  grant_no bigint,
  source text,
  amount numeric,
  next_reset_at timestamptz,
  period_no integer,
  reservation_id uuid,
  allocations jsonb
)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_reset record;
  v_reset_no integer;
  v_reset_at timestamptz;
  v_reset_amount numeric;
  v_next_reset_at timestamptz;
begin
  select w.allowance_period, w.next_reset_at as promised_at, a.period_anchor, a.time_zone, p.amount, p.period
  into v_reset
  from credits.wallets w
  join credits.accounts a on a.user_id = w.user_id
  left join credits.plan_allowances p on p.plan_id = a.plan_id and p.credit_type = w.credit_type and p.period <> 'once'
  where w.user_id = p_user_id and w.credit_type = p_credit_type and w.next_reset_at <= p_now;
  if found and v_reset.amount is null then
    v_reset_at := p_now;
    v_reset_amount := 0;
    v_next_reset_at := 'infinity';
  elsif found then
    -- Missed periods are not paid in arrears: only the one that is running now, and that one once.
    v_reset_no := credits.period_number(v_reset.period_anchor, v_reset.time_zone, v_reset.period, p_now);
    v_reset_at := credits.period_start(v_reset.period_anchor, v_reset.time_zone, v_reset.period, v_reset_no);
    v_next_reset_at := credits.period_start(v_reset.period_anchor, v_reset.time_zone, v_reset.period, v_reset_no + 1);
    -- Numbers of another anchor, or of days where there were months, say nothing; but what begins after the paid period ended is not that one.
    v_reset_amount := case when v_reset_no > coalesce(v_reset.allowance_period, -1) or v_reset_at >= v_reset.promised_at then v_reset.amount else 0 end;
  end if;

  return query
    with lapsed as (
      select r.expires_at, r.hold_entry_no, r.reservation_id, r.amount, r.allocations
      from credits.credit_reservations r
      where r.user_id = p_user_id and r.credit_type = p_credit_type and r.status = 'held' and r.expires_at <= p_now
    ), expired as (
      -- What is left of a grant expires with it; what a hold returns to it later, at that moment.
      select g.grant_no, g.source, g.expires_at, g.remaining as amount
      from credits.credit_grants g
      where g.user_id = p_user_id and g.credit_type = p_credit_type and g.remaining > 0 and g.expires_at <= p_now
      union all
      select g.grant_no, g.source, greatest(g.expires_at, l.expires_at), (d.value ->> 'amount')::numeric
      from lapsed l
      cross join lateral jsonb_array_elements(l.allocations) d
      join credits.credit_grants g on g.user_id = p_user_id and g.credit_type = p_credit_type
        and g.grant_no = (d.value ->> 'grant')::bigint and g.expires_at <= p_now
    ), steps as (
      select l.expires_at as due_at, 1 as turn, 'lapse' as kind, l.hold_entry_no as grant_no, null as source, l.amount,
        null::timestamptz as next_reset_at, null::integer as period_no, l.reservation_id, l.allocations
      from lapsed l
      union all
      select e.expires_at, 2, 'expiry', e.grant_no, e.source, -sum(e.amount), null, null, null, null
      from expired e
      group by e.expires_at, e.grant_no, e.source
      union all
      select v_reset_at, 3, 'reset', null, 'monthly', v_reset_amount, v_next_reset_at, v_reset_no, null, null
      where v_reset_at is not null
    )
    select s.due_at, s.kind, s.grant_no, s.source, s.amount, s.next_reset_at, s.period_no, s.reservation_id, s.allocations
    from steps s
    -- At the same moment holds lapse first, then the old period's credits expire, then the new ones come.
    order by s.due_at, s.turn, s.grant_no;
end
$$;

comment on function credits.due_steps(uuid, text, timestamptz) is
  'Internal. What has fallen due in a wallet by a moment, in order of time: holds that lapsed (grant_no is the entry of the hold), grants that '
  'expired, and the allowance of the running period. Writing functions apply these steps (apply_due), reading ones project them, so both always '
  'agree. Locks nothing.';

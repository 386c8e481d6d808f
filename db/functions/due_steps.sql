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
  period_no integer
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
  select w.allowance_period, a.period_anchor, a.time_zone, p.amount, p.period
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
    v_reset_amount := case when v_reset_no > coalesce(v_reset.allowance_period, -1) then v_reset.amount else 0 end;
  end if;

  return query
    select g.expires_at, 'expiry', g.grant_no, g.source, -g.remaining, null::timestamptz, null::integer
    from credits.credit_grants g
    where g.user_id = p_user_id and g.credit_type = p_credit_type and g.remaining > 0 and g.expires_at <= p_now
    union all
    select v_reset_at, 'reset', null, 'monthly', v_reset_amount, v_next_reset_at, v_reset_no
    where v_reset_at is not null
    -- At the same moment the old period's credits expire before the new ones come.
    order by 1, 2, 3;
end
$$;

comment on function credits.due_steps(uuid, text, timestamptz) is
  'Internal. What has fallen due in a wallet by a moment, in order of time: grants that expired, and the allowance of the running period. '
  'Writing functions apply these steps (apply_due), reading ones project them, so both always agree. Locks nothing.';

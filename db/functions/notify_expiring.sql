create or replace function credits.notify_expiring(
  p_within interval default '3 days',
  p_limit integer default 1000
)
returns integer
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := credits.clock_now();
  v_until timestamptz;
  v_at timestamptz;
  v_wallet credits.wallets;
  v_expiring record;
  v_credits text;
  v_told integer := 0;
  v_user_id uuid;
begin
  perform credits.check_argument(p_within > interval '0' and p_within <= interval '366 days', 'p_within', 'must be above 0 and at most 366 days');
  perform credits.check_argument(p_limit between 1 and 100000, 'p_limit', 'must be 1 to 100000');
  v_until := v_now + p_within;
  for v_wallet in
    select w.*
    from credits.wallets w
    where w.is_active and (w.user_id, w.credit_type) in (
      select g.user_id, g.credit_type
      from credits.stored_grants g
      where g.expires_at > v_now and g.expires_at <= v_until and g.source <> 'monthly' and g.told_expiry_at is null
        and (g.remaining > 0 or exists (
          select from credits.wallets o where o.user_id = g.user_id and o.credit_type = g.credit_type and o.open_grant_no = g.grant_no and o.open_remaining > 0)))
    order by w.user_id, w.credit_type
    limit p_limit
    for no key update of w skip locked
  loop
    -- As it is by now: a trigger of the application's own may have changed it since it was fetched.
    v_wallet := credits.lock_wallet(v_wallet.user_id, v_wallet.credit_type);
    -- One thing at a time: the user's next wallet is for the next call.
    continue when v_wallet.user_id = v_user_id;
    v_at := greatest(v_now, v_wallet.last_entry_at);
    v_wallet := credits.apply_due(v_wallet, v_at);
    -- Read again under the lock: another worker may have told it since the statement above began, or the user have spent it.
    select sum(g.remaining) as amount, min(g.expires_at) as expires_at, array_agg(g.grant_no order by g.grant_no) as grants into v_expiring
    from credits.credit_grants g
    where g.user_id = v_wallet.user_id and g.credit_type = v_wallet.credit_type and g.remaining > 0 and g.source <> 'monthly'
      and g.expires_at > v_at and g.expires_at <= v_until
      and exists (
        select from credits.stored_grants s
        where s.user_id = g.user_id and s.credit_type = g.credit_type and s.grant_no = g.grant_no and s.told_expiry_at is null);
    if v_expiring.grants is null then
      perform credits.finish_unchanged(v_wallet, v_at);
      continue;
    end if;

    update credits.stored_grants g
    set told_expiry_at = v_at
    where g.user_id = v_wallet.user_id and g.credit_type = v_wallet.credit_type and g.grant_no = any (v_expiring.grants);
    v_credits := replace(v_wallet.credit_type, '_', ' ');
    perform credits.notify(v_wallet.user_id, 'expiring_soon', 'info', v_wallet.credit_type, '', format('Some %s expire soon', v_credits),
      format('%s %s expire, the first on %s.', trim_scale(v_expiring.amount), v_credits, (
        select to_char(v_expiring.expires_at at time zone a.time_zone, 'YYYY-MM-DD') from credits.accounts a where a.user_id = v_wallet.user_id)),
      jsonb_build_object('amount', trim_scale(v_expiring.amount), 'expires_at', v_expiring.expires_at, 'grants', v_expiring.grants), v_at);
    v_wallet.change_no := v_wallet.change_no + 1;
    perform credits.finish_operation(v_wallet, v_at);
    v_user_id := v_wallet.user_id;
    v_told := v_told + 1;
  end loop;
  return v_told;
end
$$;

comment on function credits.notify_expiring(interval, integer) is
  'Tells users of credits that will expire within p_within (those of the monthly allowance aside, which come again): a notification of type expiring_soon per wallet, one a call and user, and '
  'of each grant once. Up to p_limit wallets of active accounts; returns how many were told: 0 when there are none left, or others hold the rest. Takes the wallets that '
  'nobody has locked, so several workers share the work without waiting. Raises UC001 for malformed arguments.';

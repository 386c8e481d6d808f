create or replace function credits.expire_purchases(
  p_age interval default '25 hours',
  p_limit integer default 100
)
returns integer
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := credits.clock_now();
  v_before timestamptz;
  v_users uuid[];
  v_wallet credits.wallets;
  v_purchase_id uuid;
  v_expired integer := 0;
begin
  perform credits.check_argument(p_age >= interval '1 minute' and p_age <= interval '366 days', 'p_age', 'must be 1 minute to 366 days');
  perform credits.check_argument(p_limit between 1 and 100000, 'p_limit', 'must be 1 to 100000');
  v_before := v_now - p_age;
  -- More users than are needed, as others may hold some of them; in a statement of its own, so that no plan walks through all wallets.
  v_users := array(
    select p.user_id
    from credits.credit_purchases p
    where p.status = 'pending' and p.created_at <= v_before
      and not exists (
        select from credits.top_ups t where t.user_id = p.user_id and t.purchase_id = p.purchase_id and t.leased_until = 'infinity')
    order by p.created_at
    limit 10 * p_limit);
  for v_wallet in
    select w.*
    from credits.wallets w
    where w.user_id = any (v_users) and w.credit_type = 'credits'
    order by w.user_id
    limit p_limit
    for no key update of w skip locked
  loop
    -- Under the lock it may turn out that it was paid, or expired by another worker, since the statement above began.
    foreach v_purchase_id in array array(
      select p.purchase_id
      from credits.credit_purchases p
      where p.user_id = v_wallet.user_id and p.status = 'pending' and p.created_at <= v_before
        and not exists (
          select from credits.top_ups t where t.user_id = p.user_id and t.purchase_id = p.purchase_id and t.leased_until = 'infinity')
      order by p.created_at, p.purchase_id)
    loop
      perform credits.fail_purchase(v_wallet.user_id, v_purchase_id, 'expired');
      v_expired := v_expired + 1;
    end loop;
  end loop;
  return v_expired;
end
$$;

comment on function credits.expire_purchases(interval, integer) is
  'Fails, with the reason ''expired'' and as fail_purchase() does, the purchases of up to p_limit users that are still pending at the age p_age; a top-up that the provider is still at is not. Should the payment arrive after all, '
  'complete_purchase() completes them. p_age must be longer than the provider lets a person pay (a day is usual). Returns how many failed: 0 when there are none left, or others '
  'hold the rest. Takes the wallets of credits that nobody has locked, in ascending order, so several workers share the work without waiting. Raises UC001 for malformed arguments.';

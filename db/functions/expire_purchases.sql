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
  v_at timestamptz;
  v_users uuid[];
  v_wallet credits.wallets;
  v_purchases uuid[];
  v_purchase_id uuid;
  v_purchase credits.credit_purchases;
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
    v_at := greatest(v_now, v_wallet.last_entry_at);
    -- Under the lock it may turn out that it was paid, or expired by another worker, since the statement above began.
    v_purchases := array(
      select p.purchase_id
      from credits.credit_purchases p
      where p.user_id = v_wallet.user_id and p.status = 'pending' and p.created_at <= v_before
      order by p.created_at, p.purchase_id);
    continue when cardinality(v_purchases) = 0;
    v_wallet := credits.apply_due(v_wallet, v_at);
    v_wallet.change_no := v_wallet.change_no + 1;
    perform credits.finish_operation(v_wallet, v_at);
    foreach v_purchase_id in array v_purchases loop
      update credits.credit_purchases p
      set status = 'failed', failure_reason = 'expired'
      where p.user_id = v_wallet.user_id and p.purchase_id = v_purchase_id
      returning p.* into v_purchase;
      perform credits.emit_purchase(v_wallet.user_id, 'purchase.failed',
        credits.purchase_outcome(v_purchase, jsonb_build_object('failure_reason', 'expired', 'replayed', false)), v_at);
      v_expired := v_expired + 1;
    end loop;
  end loop;
  return v_expired;
end
$$;

comment on function credits.expire_purchases(interval, integer) is
  'Fails, with the reason ''expired'', the purchases of up to p_limit users that are still pending at the age p_age. Should the payment arrive after all, '
  'complete_purchase() completes them. p_age must be longer than the provider lets a person pay (a day is usual). Returns how many failed: 0 when there are none left, or others '
  'hold the rest. Takes the wallets of credits that nobody has locked, in ascending order, so several workers share the work without waiting. Raises UC001 for malformed arguments.';

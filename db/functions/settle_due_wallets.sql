create or replace function credits.settle_due_wallets(p_limit integer default 1000)
returns integer
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_wallet credits.wallets;
  v_now timestamptz := credits.clock_now();
  v_settled integer := 0;
begin
  perform credits.check_argument(p_limit between 1 and 100000, 'p_limit', 'must be 1 to 100000');
  for v_wallet in
    select w.*
    from credits.wallets w
    where w.next_due_at <= v_now
    order by w.next_due_at
    limit p_limit
    for no key update skip locked
  loop
    -- As it is by now: a trigger of the application's own may have changed it since it was fetched.
    v_wallet := credits.lock_wallet(v_wallet.user_id, v_wallet.credit_type);
    v_wallet := credits.apply_due(v_wallet, greatest(v_now, v_wallet.last_entry_at));
    perform credits.finish_operation(v_wallet, greatest(v_now, v_wallet.last_entry_at));
    v_settled := v_settled + 1;
  end loop;
  return v_settled;
end
$$;

comment on function credits.settle_due_wallets(integer) is
  'Applies what has fallen due (resets, expiries, lapsed holds) in up to p_limit wallets that nobody uses; the next operation on a wallet would do the '
  'same. Returns how many it settled: 0 when there are none left, or others hold the rest. Takes the wallets that nobody has locked, so several workers '
  'share the work without waiting. Raises UC001 for a limit out of range.';

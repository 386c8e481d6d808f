create or replace function credits.lock_wallets(p_user_id uuid)
returns timestamptz
language plpgsql
volatile
as $$
declare
  v_wallet credits.wallets;
  v_now timestamptz := '-infinity';
begin
  for v_wallet in
    select w.* from credits.wallets w where w.user_id = p_user_id order by w.credit_type for no key update
  loop
    v_now := greatest(v_now, v_wallet.last_entry_at);
  end loop;
  return greatest(credits.clock_now(), v_now);
end
$$;

comment on function credits.lock_wallets(uuid) is
  'Internal. Locks all wallets of a user in the order of their credit types, and returns the time of the operation: never before the last entry of any of them.';

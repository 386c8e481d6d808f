create or replace function credits.copy_account_status()
returns trigger
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_wallet credits.wallets;
begin
  for v_wallet in
    select w.* from credits.wallets w where w.user_id = new.user_id order by w.credit_type for no key update
  loop
    update credits.wallets w
    set is_active = new.status = 'active', change_no = v_wallet.change_no + 1
    where w.user_id = v_wallet.user_id and w.credit_type = v_wallet.credit_type;
  end loop;
  return null;
end
$$;

comment on function credits.copy_account_status() is
  'Trigger function of accounts: a change of status reaches the wallets, where charges look. Locks the wallets of the user, after the account.';

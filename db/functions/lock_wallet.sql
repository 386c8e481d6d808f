create or replace function credits.lock_wallet(
  p_user_id uuid,
  p_credit_type text
)
returns credits.wallets
language plpgsql
volatile
as $$
declare
  v_wallet credits.wallets;
begin
  select w.* into v_wallet
  from credits.wallets w
  where w.user_id = p_user_id and w.credit_type = p_credit_type
  for no key update;
  if not found then
    v_wallet := credits.open_wallet(p_user_id, p_credit_type);
  end if;
  return v_wallet;
end
$$;

comment on function credits.lock_wallet(uuid, text) is
  'Internal. Locks the wallet (FOR NO KEY UPDATE), opening it if need be: the first statement of every operation. Whatever depends on the '
  'wallet is read in later statements only: READ COMMITTED shows those what the previous holder of the lock left. Null if there is no account.';

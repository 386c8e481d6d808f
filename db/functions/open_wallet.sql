create or replace function credits.open_wallet(
  p_user_id uuid,
  p_credit_type text
)
returns credits.wallets
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_wallet credits.wallets;
  v_now timestamptz := credits.clock_now();
begin
  insert into credits.wallets (user_id, credit_type, last_entry_at)
  select a.user_id, p_credit_type, v_now
  from credits.accounts a
  where a.user_id = p_user_id
  on conflict (user_id, credit_type) do nothing;

  select w.* into v_wallet
  from credits.wallets w
  where w.user_id = p_user_id and w.credit_type = p_credit_type
  for no key update;
  return v_wallet;
end
$$;

comment on function credits.open_wallet(uuid, text) is
  'Internal. Opens the wallet of an account if it has none of that credit type, and locks it. Null if there is no account.';

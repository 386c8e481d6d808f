create or replace function credits.expire_grant(
  p_wallet credits.wallets,
  p_at timestamptz,
  p_grant_no bigint
)
returns credits.wallets
language plpgsql
volatile
as $$
declare
  v_remaining numeric;
begin
  select g.remaining into v_remaining
  from credits.stored_grants g
  where g.user_id = p_wallet.user_id and g.credit_type = p_wallet.credit_type and g.grant_no = p_grant_no;
  if v_remaining > 0 then
    p_wallet := credits.add_entry(p_wallet, p_at, 'expiry', -v_remaining, p_grant_no);
    update credits.stored_grants g
    set remaining = 0
    where g.user_id = p_wallet.user_id and g.credit_type = p_wallet.credit_type and g.grant_no = p_grant_no;
  end if;
  return p_wallet;
end
$$;

comment on function credits.expire_grant(credits.wallets, timestamptz, bigint) is
  'Internal. Books the expiry of what is left of a grant. The caller holds the wallet''s lock, has flushed its open grant, and saves the '
  'returned wallet.';

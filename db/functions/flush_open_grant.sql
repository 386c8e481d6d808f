create or replace function credits.flush_open_grant(p_wallet credits.wallets)
returns credits.wallets
language plpgsql
volatile
as $$
begin
  if p_wallet.open_grant_no is not null then
    update credits.stored_grants g
    set remaining = g.remaining + p_wallet.open_remaining
    where g.user_id = p_wallet.user_id and g.credit_type = p_wallet.credit_type and g.grant_no = p_wallet.open_grant_no;
    p_wallet.open_grant_no := null;
    p_wallet.open_remaining := null;
  end if;
  return p_wallet;
end
$$;

comment on function credits.flush_open_grant(credits.wallets) is
  'Internal. Writes the open slice back to its grant in stored_grants. The caller holds the wallet''s lock and saves the returned wallet in the '
  'same transaction.';

create or replace function credits.next_due_at(p_wallet credits.wallets)
returns timestamptz
language plpgsql
stable
as $$
begin
  return least(p_wallet.next_reset_at, (
    select min(g.expires_at)
    from credits.stored_grants g
    where g.user_id = p_wallet.user_id and g.credit_type = p_wallet.credit_type and g.remaining > 0
  ));
end
$$;

comment on function credits.next_due_at(credits.wallets) is
  'Internal. The first moment at which something falls due in the wallet: a grant with credits left expires, or the allowance renews.';

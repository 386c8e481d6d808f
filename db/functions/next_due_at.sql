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
  ), (
    select g.expires_at
    from credits.stored_grants g
    where g.user_id = p_wallet.user_id and g.credit_type = p_wallet.credit_type and g.grant_no = p_wallet.open_grant_no
  ), (
    select min(r.expires_at)
    from credits.credit_reservations r
    where r.user_id = p_wallet.user_id and r.credit_type = p_wallet.credit_type and r.status = 'held'
  ));
end
$$;

comment on function credits.next_due_at(credits.wallets) is
  'Internal. The first moment at which something falls due in the wallet: a grant with credits left expires, a hold lapses, or the allowance renews.';

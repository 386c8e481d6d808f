create or replace function credits.finish_unchanged(
  p_wallet credits.wallets,
  p_now timestamptz
)
returns credits.wallets
language plpgsql
volatile
as $$
begin
  if p_wallet.balance + p_wallet.debt <= p_wallet.alert_at or p_wallet.last_reset_at > coalesce(p_wallet.told_reset_at, '-infinity') then
    return credits.finish_operation(p_wallet, p_now);
  end if;
  return p_wallet;
end
$$;

comment on function credits.finish_unchanged(credits.wallets, timestamptz) is
  'Internal. The end of an operation that changes nothing, being declined or repeated: tells the user what had fallen due before it, and writes nothing '
  'if there is nothing to tell. Returns the wallet. The caller holds its lock. Raises what finish_operation() does.';

create or replace function credits.save_wallet(p_wallet credits.wallets)
returns credits.wallets
language plpgsql
volatile
as $$
begin
  if p_wallet.balance + p_wallet.debt < 0 then
    raise exception 'the wallet (%, %) would be overdrawn: balance %, debt %', p_wallet.user_id, p_wallet.credit_type, p_wallet.balance, p_wallet.debt
      using errcode = 'internal_error';
  end if;
  update credits.wallets w
  set balance = p_wallet.balance,
    held = p_wallet.held,
    debt = p_wallet.debt,
    purchase_debt = p_wallet.purchase_debt,
    owed = p_wallet.owed,
    entry_no = p_wallet.entry_no,
    change_no = greatest(p_wallet.change_no, w.change_no),
    version = w.version + 1,
    last_entry_at = p_wallet.last_entry_at,
    next_due_at = p_wallet.next_due_at,
    allowance_period = p_wallet.allowance_period,
    reset_grant_no = p_wallet.reset_grant_no,
    rolled_back_reset_at = p_wallet.rolled_back_reset_at,
    last_reset_at = p_wallet.last_reset_at,
    next_reset_at = p_wallet.next_reset_at,
    open_grant_no = p_wallet.open_grant_no,
    open_remaining = p_wallet.open_remaining,
    low_threshold = p_wallet.low_threshold,
    alert_at = p_wallet.alert_at,
    told_reset_at = p_wallet.told_reset_at
  -- The usual charges move the entry number alone.
  where w.user_id = p_wallet.user_id and w.credit_type = p_wallet.credit_type and w.version = p_wallet.version and w.entry_no <= p_wallet.entry_no
  returning w.version into p_wallet.version;
  if not found then
    perform credits.fail('UC360', 'a trigger changed the wallet in the midst of an operation on it',
      jsonb_build_object('code', 'wallet_changed', 'user_id', p_wallet.user_id, 'credit_type', p_wallet.credit_type));
  end if;
  return p_wallet;
end
$$;

comment on function credits.save_wallet(credits.wallets) is
  'Internal. Writes a wallet that the caller has locked, and returns it. Raises XX000 rather than overdraw it: the last net under every path but '
  'the usual charge, whose own condition is as strict. Raises UC360 rather than undo what a trigger of the application''s own, on a table that '
  'the operation wrote, did to the wallet meanwhile.';

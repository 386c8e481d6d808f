create or replace function credits.add_entry(
  p_wallet credits.wallets,
  p_at timestamptz,
  p_kind text,
  p_amount numeric,
  p_allocations jsonb,
  p_reference text default null,
  p_metadata jsonb default '{}'
)
returns credits.wallets
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  p_wallet.entry_no := p_wallet.entry_no + 1;
  p_wallet.change_no := p_wallet.change_no + 1;
  p_wallet.balance := p_wallet.balance + p_amount;
  p_wallet.last_entry_at := greatest(p_at, p_wallet.last_entry_at);
  insert into credits.credit_ledger
    (user_id, credit_type, entry_no, created_at, kind, amount, balance_after, allocations, reference, actor, session_role, metadata)
  values
    (p_wallet.user_id, p_wallet.credit_type, p_wallet.entry_no, p_wallet.last_entry_at, p_kind, p_amount, p_wallet.balance, p_allocations,
      p_reference, credits.actor(), session_user, p_metadata);
  return p_wallet;
end
$$;

comment on function credits.add_entry(credits.wallets, timestamptz, text, numeric, jsonb, text, jsonb) is
  'Internal. Appends an entry other than a usage to the ledger and moves the wallet with it. The caller holds the wallet''s lock and saves '
  'the returned wallet.';

create or replace function credits.add_entry(
  p_wallet credits.wallets,
  p_at timestamptz,
  p_kind text,
  p_amount numeric,
  p_grant_no bigint,
  p_allocations jsonb default null,
  p_entry credits.credit_ledger default null
)
returns credits.wallets
language plpgsql
volatile
as $$
begin
  p_wallet.entry_no := p_wallet.entry_no + 1;
  p_wallet.change_no := p_wallet.change_no + 1;
  p_wallet.balance := p_wallet.balance + p_amount;
  p_wallet.last_entry_at := greatest(p_at, p_wallet.last_entry_at);
  insert into credits.credit_ledger
    (user_id, credit_type, entry_no, created_at, kind, amount, balance_after, action_type, unit_price, quantity, grant_no, allocations, row_source, row_id,
      idempotency_key, key_hash, reference_id, reference, related_entry_no, duration_seconds, cost_breakdown, actor, session_role, metadata,
      counted_in)
  values
    (p_wallet.user_id, p_wallet.credit_type, p_wallet.entry_no, p_wallet.last_entry_at, p_kind, p_amount, p_wallet.balance,
      p_entry.action_type, p_entry.unit_price, p_entry.quantity, p_grant_no, p_allocations, p_entry.row_source, p_entry.row_id,
      p_entry.idempotency_key, credits.key_hash(p_wallet.user_id, coalesce(p_entry.row_id, p_entry.idempotency_key)), p_entry.reference_id,
      p_entry.reference, p_entry.related_entry_no, p_entry.duration_seconds, p_entry.cost_breakdown, credits.actor(), session_user, coalesce(p_entry.metadata, '{}'),
      p_entry.counted_in);
  return p_wallet;
end
$$;

comment on function credits.add_entry(credits.wallets, timestamptz, text, numeric, bigint, jsonb, credits.credit_ledger) is
  'Internal. Appends an entry to the ledger and moves the wallet with it; p_entry gives what else the entry says. The caller holds the '
  'wallet''s lock and saves the returned wallet.';

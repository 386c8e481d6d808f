create or replace function credits.release_hold(
  p_wallet credits.wallets,
  p_reservation_id uuid,
  p_at timestamptz,
  p_status text,
  p_metadata jsonb default '{}'
)
returns credits.wallets
language plpgsql
volatile
as $$
declare
  v_reservation credits.credit_reservations;
  v_returned record;
  v_entry credits.credit_ledger;
begin
  select r.* into v_reservation
  from credits.credit_reservations r
  where r.user_id = p_wallet.user_id and r.reservation_id = p_reservation_id;
  v_returned := credits.give_back(p_wallet, v_reservation.allocations);
  p_wallet := v_returned.p_wallet;
  p_wallet.held := p_wallet.held - v_reservation.amount;
  v_entry.action_type := v_reservation.action_type;
  v_entry.reference_id := p_reservation_id;
  v_entry.related_entry_no := v_reservation.hold_entry_no;
  v_entry.metadata := p_metadata;
  p_wallet := credits.add_entry(p_wallet, p_at, 'release', v_reservation.amount, null, v_returned.allocations, v_entry);
  update credits.credit_reservations r
  set status = p_status, settled_at = p_wallet.last_entry_at, settled_entry_no = p_wallet.entry_no
  where r.user_id = p_wallet.user_id and r.reservation_id = p_reservation_id;
  perform credits.count_use(p_wallet.user_id, v_reservation.action_type, v_reservation.limit_period, v_reservation.limit_period_no,
    -v_reservation.quantity);
  p_wallet.next_due_at := least(p_wallet.next_due_at, credits.next_due_at(p_wallet));
  return p_wallet;
end
$$;

comment on function credits.release_hold(credits.wallets, uuid, timestamptz, text, jsonb) is
  'Internal. Ends a hold by giving its credits back to their grants; what came back to one that has expired is '
  'for the caller to expire, who holds the wallet''s lock and saves the returned wallet.';

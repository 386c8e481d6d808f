create or replace function credits.lock_reservation(
  p_user_id uuid,
  p_reservation_id uuid,
  out wallet credits.wallets,
  out reservation credits.credit_reservations,
  out now timestamptz
)
returns record
language plpgsql
volatile
as $$
declare
  v_credit_type text;
begin
  perform credits.check_argument(p_user_id is not null, 'p_user_id', 'must not be null');
  perform credits.check_argument(p_reservation_id is not null, 'p_reservation_id', 'must not be null');
  -- Which wallet it is of never changes; everything else is read under that wallet's lock.
  select r.credit_type into v_credit_type
  from credits.credit_reservations r
  where r.user_id = p_user_id and r.reservation_id = p_reservation_id;
  if not found then
    return;
  end if;
  wallet := credits.lock_wallet(p_user_id, v_credit_type);
  now := greatest(credits.clock_now(), wallet.last_entry_at);
  wallet := credits.apply_due(wallet, now);
  select r.* into reservation
  from credits.credit_reservations r
  where r.user_id = p_user_id and r.reservation_id = p_reservation_id;
end
$$;

comment on function credits.lock_reservation(uuid, uuid) is
  'Internal. Locks the wallet of a hold, applies what is due there (which may be the hold''s lapse) and reads the hold; all null if there is none.';

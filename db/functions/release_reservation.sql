create or replace function credits.release_reservation(
  p_user_id uuid,
  p_reservation_id uuid,
  p_reason text default null
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_locked record;
  v_wallet credits.wallets;
  v_reservation credits.credit_reservations;
  v_is_replay boolean;
  v_expired numeric := 0;
begin
  perform credits.check_argument(coalesce(length(p_reason) between 1 and 255, true), 'p_reason', 'must have 1 to 255 characters');
  v_locked := credits.lock_reservation(p_user_id, p_reservation_id);
  v_wallet := v_locked.wallet;
  v_reservation := v_locked.reservation;
  if v_reservation.user_id is null then
    return credits.outcome('not_found', jsonb_build_object('reservation_id', p_reservation_id));
  elsif v_reservation.status = 'committed' then
    perform credits.fail('UC310', 'the reservation is committed', jsonb_build_object('code', 'reservation_settled',
      'reservation_id', p_reservation_id, 'status', v_reservation.status));
  end if;
  v_is_replay := v_reservation.status <> 'held';
  if v_is_replay then
    v_wallet := credits.finish_unchanged(v_wallet, v_locked.now);
  else
    v_wallet := credits.release_hold(v_wallet, p_reservation_id, v_locked.now, 'released',
      case when p_reason is null then '{}' else jsonb_build_object('reason', p_reason) end);
    v_expired := v_wallet.balance;
    v_wallet := credits.expire_returned(v_wallet, v_locked.now, v_reservation.allocations);
    v_expired := v_expired - v_wallet.balance;
    v_wallet := credits.finish_operation(v_wallet, v_locked.now);
  end if;
  return credits.outcome('ok', jsonb_build_object(
    'reservation_id', p_reservation_id,
    'credits_released', trim_scale(v_reservation.amount),
    'credits_expired', trim_scale(v_expired),
    'balance_after', trim_scale(v_wallet.balance),
    'replayed', v_is_replay));
end
$$;

comment on function credits.release_reservation(uuid, uuid, text) is
  'Ends a hold without a charge: its credits go back to their grants (what comes back to one that has expired expires). Releasing what is released or '
  'lapsed changes nothing and returns replayed true. Returns code ok or not_found, credits_released, credits_expired (of these, now), balance_after. Locks the wallet row. '
  'Raises UC001 for malformed arguments, UC310 if the hold is committed.';

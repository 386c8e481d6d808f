create or replace function credits.extend_reservation(
  p_user_id uuid,
  p_reservation_id uuid,
  p_ttl interval default '15 minutes'
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
  v_expires_at timestamptz;
begin
  perform credits.check_argument(p_ttl > interval '0' and p_ttl <= interval '30 days', 'p_ttl', 'must be above 0 and at most 30 days');
  -- As long as it was checked to be, whatever month it is and whatever the session's time zone.
  p_ttl := make_interval(secs => extract(epoch from p_ttl));
  v_locked := credits.lock_reservation(p_user_id, p_reservation_id);
  if (v_locked.reservation).user_id is null then
    return credits.outcome('not_found', jsonb_build_object('reservation_id', p_reservation_id));
  end if;
  v_wallet := v_locked.wallet;
  if (v_locked.reservation).status <> 'held' then
    perform credits.fail('UC311', 'the reservation is not held any more', jsonb_build_object('code', 'reservation_settled',
      'reservation_id', p_reservation_id, 'status', (v_locked.reservation).status));
  end if;
  v_expires_at := greatest((v_locked.reservation).expires_at, v_locked.now + p_ttl);
  update credits.credit_reservations r
  set expires_at = v_expires_at
  where r.user_id = p_user_id and r.reservation_id = p_reservation_id;
  v_wallet.change_no := v_wallet.change_no + 1;
  perform credits.finish_operation(v_wallet, v_locked.now);
  return credits.outcome('ok', jsonb_build_object('reservation_id', p_reservation_id, 'expires_at', v_expires_at,
    'credits_held', trim_scale((v_locked.reservation).amount)));
end
$$;

comment on function credits.extend_reservation(uuid, uuid, interval) is
  'Lets a hold last until p_ttl from now; never shortens it. Returns code ok or not_found, reservation_id, expires_at and credits_held. Locks the '
  'wallet row. Raises UC001 for malformed arguments, UC311 if the hold is committed, released or lapsed.';

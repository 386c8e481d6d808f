create or replace function credits.change_status(
  p_user_id uuid,
  p_status text,
  p_reason text
)
returns jsonb
language plpgsql
volatile
as $$
declare
  v_account credits.accounts;
  v_wallet credits.wallets;
  v_now timestamptz;
  v_reservation_id uuid;
  v_allocations jsonb := '[]';
  v_released integer := 0;
begin
  perform credits.check_argument(p_user_id is not null, 'p_user_id', 'must not be null');
  perform credits.check_argument(coalesce(length(p_reason) between 1 and 255, true), 'p_reason', 'must have 1 to 255 characters');
  v_now := credits.lock_wallets(p_user_id);
  select a.* into v_account from credits.accounts a where a.user_id = p_user_id for no key update;
  if not found then
    return credits.outcome('unknown_account', jsonb_build_object('user_id', p_user_id));
  elsif v_account.status = 'closed' and p_status <> 'closed' then
    perform credits.fail('UC340', 'a closed account stays closed',
      jsonb_build_object('code', 'account_closed', 'user_id', p_user_id, 'status', v_account.status));
  end if;

  if v_account.status <> p_status then
    -- Locked again, as one may have been opened while this waited for the account.
    for v_wallet in
      select w.* from credits.wallets w where w.user_id = p_user_id order by w.credit_type for no key update
    loop
      -- As it is by now: a trigger of the application's own may have changed it since it was fetched.
      v_wallet := credits.lock_wallet(v_wallet.user_id, v_wallet.credit_type);
      v_wallet := credits.apply_due(v_wallet, v_now);
      if p_status = 'closed' then
        for v_reservation_id, v_allocations in
          select r.reservation_id, r.allocations
          from credits.credit_reservations r
          where r.user_id = p_user_id and r.credit_type = v_wallet.credit_type and r.status = 'held'
          order by r.hold_entry_no
        loop
          v_wallet := credits.release_hold(v_wallet, v_reservation_id, v_now, 'released', jsonb_build_object('reason', 'account closed'));
          v_wallet := credits.expire_returned(v_wallet, v_now, v_allocations);
          v_released := v_released + 1;
        end loop;
        v_wallet.next_reset_at := 'infinity';
        v_wallet.next_due_at := credits.next_due_at(v_wallet);
      end if;
      v_wallet.change_no := v_wallet.change_no + 1;
      -- Whoever may spend again pays first what chat sessions owe.
      v_wallet.is_active := v_wallet.is_active or p_status = 'active';
      -- Whoever leaves is not told that credits came back or ran low.
      perform credits.finish_operation(v_wallet, v_now, p_status = 'closed');
    end loop;
    -- A trigger copies the status to the wallets.
    update credits.accounts a
    set status = p_status, status_reason = p_reason, status_changed_at = v_now
    where a.user_id = p_user_id;
  end if;
  return credits.outcome('ok', jsonb_build_object('user_id', p_user_id, 'status', p_status, 'previous_status', v_account.status,
      'changed', v_account.status <> p_status))
    || case p_status when 'closed' then jsonb_build_object('holds_released', v_released) else '{}' end;
end
$$;

comment on function credits.change_status(uuid, text, text) is
  'Internal. Moves an account to a status: locks all wallets of the user, then the account. Closing releases the holds and ends the allowance''s '
  'renewal; what is left stays in the books. Raises UC340 for a closed account that is to be anything else.';

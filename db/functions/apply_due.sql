create or replace function credits.apply_due(
  p_wallet credits.wallets,
  p_now timestamptz
)
returns credits.wallets
language plpgsql
volatile
as $$
declare
  v_step record;
  v_at timestamptz;
begin
  if p_wallet.next_due_at > p_now then
    return p_wallet;
  end if;
  p_wallet := credits.flush_open_grant(p_wallet);
  -- due_steps reads the tables, so the flush must be in them.
  p_wallet := credits.save_wallet(p_wallet);

  for v_step in select s.* from credits.due_steps(p_wallet.user_id, p_wallet.credit_type, p_now) s loop
    if v_at < v_step.due_at and p_wallet.owed > 0 then
      p_wallet := credits.flush_open_grant(credits.pay_owed(p_wallet, v_at));
    end if;
    v_at := v_step.due_at;
    case v_step.kind
      when 'lapse' then
        p_wallet := credits.release_hold(p_wallet, v_step.reservation_id, v_step.due_at, 'lapsed');
      when 'expiry' then
        p_wallet := credits.expire_grant(p_wallet, v_step.due_at, v_step.grant_no);
      when 'reset' then
        p_wallet.reset_grant_no := null;
        if v_step.amount > 0 then
          p_wallet.allowance_period := v_step.period_no;
          p_wallet.last_reset_at := v_step.due_at;
          p_wallet := credits.add_grant(p_wallet, v_step.due_at, v_step.amount, v_step.source,
            p_expires_at => v_step.next_reset_at, p_period_no => v_step.period_no);
          p_wallet.reset_grant_no := p_wallet.entry_no;
        end if;
        p_wallet.next_reset_at := v_step.next_reset_at;
    end case;
  end loop;
  if p_wallet.owed > 0 then
    p_wallet := credits.flush_open_grant(credits.pay_owed(p_wallet, coalesce(v_at, p_now)));
    p_wallet := credits.pay_owed(p_wallet, p_now);
  end if;

  p_wallet.next_due_at := credits.next_due_at(p_wallet);
  return credits.save_wallet(p_wallet);
end
$$;

comment on function credits.apply_due(credits.wallets, timestamptz) is
  'Internal. Applies what has fallen due in a wallet that the caller has locked, each step dated when it fell due, and saves the wallet. What '
  'chat sessions owe is paid after each of those moments, as if it had been applied in time. '
  'Every writing operation calls it before anything else, so that nobody waits for a scheduler.';

create or replace function credits.finish_operation(
  p_wallet credits.wallets,
  p_now timestamptz,
  p_is_quiet boolean default false
)
returns credits.wallets
language plpgsql
volatile
as $$
declare
  v_spendable numeric;
  v_threshold numeric := coalesce(p_wallet.low_threshold, 0);
  v_excess numeric;
  v_credits text := replace(p_wallet.credit_type, '_', ' ');
begin
  if p_wallet.owed > 0 then
    p_wallet := credits.pay_owed(p_wallet, p_now);
  end if;
  v_spendable := p_wallet.balance + p_wallet.debt;
  if v_spendable <= p_wallet.alert_at then
    if not p_is_quiet and v_spendable > 0 then
      perform credits.notify(p_wallet.user_id, 'low_balance', 'warning', p_wallet.credit_type, '', format('Running low on %s', v_credits),
        format('%s %s left.', trim_scale(v_spendable), v_credits),
        jsonb_build_object('available', trim_scale(v_spendable), 'threshold', trim_scale(v_threshold)), p_now);
    elsif not p_is_quiet then
      perform credits.notify(p_wallet.user_id, 'exhausted', 'warning', p_wallet.credit_type, '', format('No %s left', v_credits),
        format('All %s are used up.', v_credits), jsonb_build_object('next_reset', nullif(p_wallet.next_reset_at, 'infinity')), p_now);
    end if;
    p_wallet.alert_at := case when v_spendable > 0 then 0 else -1 end;
    p_wallet.change_no := p_wallet.change_no + 1;
  elsif v_spendable > v_threshold then
    p_wallet.alert_at := v_threshold;
  elsif v_spendable > 0 then
    p_wallet.alert_at := greatest(p_wallet.alert_at, 0);
  end if;

  if p_wallet.last_reset_at > coalesce(p_wallet.told_reset_at, '-infinity') and not p_is_quiet then
    -- What is more telling goes first; the reset is told by the next operation then.
    if credits.notify(p_wallet.user_id, 'reset', 'info', p_wallet.credit_type, '', format('Your %s are renewed', v_credits),
      format('%s %s available.', trim_scale(v_spendable), v_credits),
      jsonb_build_object('available', trim_scale(v_spendable), 'next_reset', nullif(p_wallet.next_reset_at, 'infinity')), p_now)
    then
      p_wallet.told_reset_at := p_wallet.last_reset_at;
      p_wallet.change_no := p_wallet.change_no + 1;
    end if;
  end if;

  -- The usual charge takes from the open slice without looking further, so the slice ends where there is something to tell.
  v_excess := p_wallet.open_remaining - greatest(v_spendable - greatest(p_wallet.alert_at, 0), 0);
  if v_excess > 0 then
    update credits.stored_grants g
    set remaining = g.remaining + v_excess
    where g.user_id = p_wallet.user_id and g.credit_type = p_wallet.credit_type and g.grant_no = p_wallet.open_grant_no;
    p_wallet.open_remaining := p_wallet.open_remaining - v_excess;
  end if;
  return credits.save_wallet(p_wallet);
end
$$;

comment on function credits.finish_operation(credits.wallets, timestamptz, boolean) is
  'Internal. The end of every operation on a wallet: pays what chat sessions owe, tells the user what the operation led to, once an episode (running '
  'low, used up, renewed; nothing if p_is_quiet), and saves the wallet, which it returns. The caller holds the wallet''s lock.';

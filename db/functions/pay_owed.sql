create or replace function credits.pay_owed(
  p_wallet credits.wallets,
  p_now timestamptz
)
returns credits.wallets
language plpgsql
volatile
as $$
declare
  v_payment record;
begin
  if p_wallet.owed > 0 and p_wallet.is_active and p_wallet.balance + p_wallet.debt > 0 then
    for v_payment in
      select o.* from credits.owed_payments(p_wallet.user_id, p_wallet.credit_type, p_wallet.balance + p_wallet.debt, p_now) o
    loop
      p_wallet := credits.charge_chat_time(p_wallet, v_payment.session_id, v_payment.action_type, v_payment.rate, v_payment.intervals,
        v_payment.limit_period, v_payment.limit_period_no, p_now);
    end loop;
  end if;
  return p_wallet;
end
$$;

comment on function credits.pay_owed(credits.wallets, timestamptz) is
  'Internal. Pays what the user''s chat sessions owe as far as the credits reach, unless the account may not spend or the price is switched off. '
  'Every operation ends with it, and so does every moment at which something fell due. The caller holds the wallet''s lock and saves the returned wallet.';

create or replace function credits.keep_payment_method(p_event credits.payment_events)
returns void
language plpgsql
volatile
as $$
begin
  if num_nulls(p_event.customer_reference, p_event.payment_method) = 0
    and exists (select from credits.accounts a where a.user_id = p_event.payer_id and a.status <> 'closed')
  then
    insert into credits.payment_methods (user_id, provider, customer_reference, payment_method, saved_at)
    values (p_event.payer_id, p_event.provider, p_event.customer_reference, p_event.payment_method, p_event.received_at)
    on conflict (user_id, provider) do update set
      customer_reference = excluded.customer_reference,
      payment_method = excluded.payment_method,
      saved_at = excluded.saved_at
    where payment_methods.saved_at <= excluded.saved_at;
    update credits.wallets w set change_no = w.change_no + 1 where w.user_id = p_event.payer_id and w.credit_type = 'credits';
  end if;
end
$$;

comment on function credits.keep_payment_method(credits.payment_events) is
  'Internal. Keeps the means of payment that came with a completed payment, the latest of a user and provider. The caller holds the lock of the wallet of credits.';

create or replace function credits.try_payment_event(p_event credits.payment_events)
returns credits.payment_events
language plpgsql
volatile
as $$
declare
  v_payment credits.payments;
  v_locked record;
  v_wallet credits.wallets;
  v_purchase credits.credit_purchases;
begin
  p_event.reason := null;
  select p.* into v_payment
  from credits.payments p
  where p.provider = p_event.provider and p.provider_reference = p_event.provider_reference;
  -- A payment that is known says itself whose it is.
  if v_payment.payer_id is not null and (p_event.kind <> 'completed' or num_nulls(p_event.payer_id, p_event.purchase_id) > 0) then
    p_event.payer_id := v_payment.payer_id;
    p_event.purchase_id := v_payment.purchase_id;
  end if;
  if num_nulls(p_event.payer_id, p_event.purchase_id) = 0 then
    v_locked := credits.lock_purchase(p_event.payer_id, p_event.purchase_id);
    v_wallet := v_locked.wallet;
    v_purchase := v_locked.purchase;
    if v_purchase.provider <> p_event.provider then
      v_purchase := null;
    end if;
  end if;

  case
    when p_event.kind = 'completed' then
      if v_purchase.user_id is null or v_payment.provider is null then
        p_event.reason := 'unknown_purchase';
      elsif (v_payment.payer_id, v_payment.purchase_id) <> (v_purchase.user_id, v_purchase.purchase_id) then
        p_event.reason := 'payment_used';
      elsif (p_event.amount_minor, p_event.currency) is distinct from (v_purchase.price_minor, v_purchase.currency) then
        p_event.reason := 'payment_differs';
      elsif v_purchase.grant_no is not null and v_purchase.provider_reference <> p_event.provider_reference then
        p_event.reason := 'paid_otherwise';
      elsif v_purchase.grant_no is null and v_wallet.balance + v_purchase.credits > 10000000000000 then
        p_event.reason := 'balance_limit';
      else
        p_event.status := case when v_purchase.grant_no is null then 'applied' else 'superseded' end;
        perform credits.grant_purchase(v_purchase.user_id, v_purchase.purchase_id, p_event.provider_reference,
          p_event.amount_minor, p_event.currency);
        perform credits.keep_payment_method(p_event);
      end if;
    when p_event.kind in ('failed', 'expired') then
      -- No money moved, so nothing of it waits for anybody.
      p_event.status := 'superseded';
      if v_purchase.status = 'pending' then
        perform credits.fail_purchase(v_purchase.user_id, v_purchase.purchase_id,
          coalesce(p_event.failure_reason, case p_event.kind when 'expired' then 'not paid in time' else 'the payment failed' end));
        p_event.status := 'applied';
      end if;
      if v_purchase.grant_no is null and not v_purchase.is_declined then
        update credits.credit_purchases p
        set is_declined = true
        where p.user_id = v_purchase.user_id and p.purchase_id = v_purchase.purchase_id;
        update credits.wallets w set change_no = w.change_no + 1 where w.user_id = v_purchase.user_id and w.credit_type = 'credits';
      end if;
    when p_event.kind = 'processing' then
      p_event.status := 'superseded';
      if v_purchase.status = 'pending' then
        update credits.top_ups t
        set leased_until = 'infinity'
        where t.user_id = v_purchase.user_id and t.purchase_id = v_purchase.purchase_id;
        v_wallet := credits.apply_due(v_wallet, v_locked.now);
        v_wallet.change_no := v_wallet.change_no + 1;
        perform credits.finish_operation(v_wallet, v_locked.now);
        p_event.status := 'applied';
      end if;
    when p_event.kind = 'refund_failed' then
      p_event.reason := 'by_hand';
    when v_payment.provider is null then
      p_event.reason := 'unknown_payment';
    when v_purchase.provider_reference = p_event.provider_reference then
      p_event := credits.reverse_payment(p_event, v_purchase);
    else
      p_event := credits.return_unapplied(p_event);
  end case;
  return p_event;
end
$$;

comment on function credits.try_payment_event(credits.payment_events) is
  'Internal. Applies an event, or says in its reason why that cannot be. The caller holds the locks of the payment and the event, and stores what is returned. Locks the wallet row of credits.';

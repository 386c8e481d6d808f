create or replace function credits.reverse_payment(
  p_event credits.payment_events,
  p_purchase credits.credit_purchases
)
returns credits.payment_events
language plpgsql
volatile
as $$
declare
  v_refund credits.credit_purchase_refunds;
  v_is_dispute boolean := p_event.kind <> 'refunded';
begin
  if v_is_dispute then
    select r.* into v_refund
    from credits.credit_purchase_refunds r
    where r.user_id = p_purchase.user_id and r.provider = p_event.provider and r.provider_reference = p_event.refund_reference;
  end if;
  case
    when p_event.kind = 'dispute_won' and v_refund.is_dispute and v_refund.reinstated_at is null then
      perform credits.undo_refund(p_purchase.user_id, p_purchase.purchase_id, p_event.refund_reference, 'dispute won');
      p_event.status := 'applied';
    when v_refund.user_id is not null then
      p_event.status := 'superseded';
    when v_is_dispute and p_event.refund_reference is null then
      p_event.reason := 'unknown_dispute';
    when p_event.kind = 'dispute_won' then
      -- A dispute that found nothing to take gives nothing back, and needs to take nothing any more.
      if exists (
        select
        from credits.payment_events e
        where e.provider = p_event.provider and e.provider_reference = p_event.provider_reference
          and e.refund_reference = p_event.refund_reference and e.kind in ('disputed', 'dispute_lost')
          and (e.status <> 'waiting' or e.reason in ('disputed', 'payment_differs')))
      then
        update credits.payment_events e
        set status = 'superseded', reason = 'dispute_won', processed_at = credits.clock_now()
        where e.provider = p_event.provider and e.provider_reference = p_event.provider_reference
          and e.refund_reference = p_event.refund_reference and e.kind in ('disputed', 'dispute_lost') and e.status = 'waiting';
        p_event.status := 'superseded';
      else
        p_event.reason := 'unknown_dispute';
      end if;
    when v_is_dispute and exists (
      select
      from credits.payment_events e
      where e.provider = p_event.provider and e.provider_reference = p_event.provider_reference
        and e.refund_reference = p_event.refund_reference and e.kind = 'dispute_won' and e.status = 'superseded')
    then
      -- Won before it took anything.
      p_event.status := 'superseded';
    when p_event.amount_minor is null or p_event.currency is distinct from p_purchase.currency
      or (not v_is_dispute and p_event.amount_minor > p_purchase.price_minor)
    then
      p_event.reason := 'payment_differs';
    else
      p_event := credits.take_reversed(p_event, p_purchase);
  end case;
  return p_event;
end
$$;

comment on function credits.reverse_payment(credits.payment_events, credits.credit_purchases) is
  'Internal. Part of try_payment_event: a refund or a dispute of the payment that completed the purchase, which has just been read under the lock of its wallet.';

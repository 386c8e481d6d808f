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
  v_booked bigint;
  v_due bigint := p_event.amount_minor;
  v_take bigint;
  -- Neither lost nor won: what such a dispute holds may come back, and can be refunded then.
  v_is_disputed boolean := exists (
    select
    from credits.credit_purchase_refunds r
    where r.user_id = p_purchase.user_id and r.purchase_id = p_purchase.purchase_id and r.is_dispute and r.reinstated_at is null
      and not exists (
        select
        from credits.payment_events e
        where e.provider = p_event.provider and e.provider_reference = p_event.provider_reference and e.kind = 'dispute_lost'
          and e.refund_reference = r.provider_reference));
begin
  if p_event.kind <> 'refunded' then
    select r.* into v_refund
    from credits.credit_purchase_refunds r
    where r.user_id = p_purchase.user_id and r.provider = p_event.provider and r.provider_reference = p_event.refund_reference;
  end if;
  case
    when p_event.kind = 'dispute_won' and v_refund.is_dispute and v_refund.reinstated_at is null then
      perform credits.reinstate_purchase(p_purchase.user_id, p_purchase.purchase_id, p_event.refund_reference, 'dispute won');
      p_event.status := 'applied';
    when v_refund.user_id is not null then
      p_event.status := 'superseded';
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
    when p_event.kind <> 'refunded' and p_event.refund_reference is null then
      p_event.reason := 'unknown_dispute';
    when v_due is null or p_event.currency is distinct from p_purchase.currency or (p_event.kind = 'refunded' and v_due > p_purchase.price_minor) then
      p_event.reason := 'payment_differs';
    else
      select coalesce(sum(r.amount_minor), 0) into v_booked
      from credits.credit_purchase_refunds r
      where r.user_id = p_purchase.user_id and r.purchase_id = p_purchase.purchase_id and not r.is_dispute;
      if p_event.kind = 'refunded' then
        v_due := v_due - v_booked;
      end if;
      v_take := least(v_due, p_purchase.price_minor - p_purchase.refunded_minor);
      if v_take > 0 and p_event.kind = 'refunded' then
        perform credits.refund_purchase(p_purchase.user_id, p_purchase.purchase_id, v_take, 'refunded',
          format('%s refunded %s', p_event.provider_reference, v_booked + v_take));
      elsif v_take > 0 then
        perform credits.refund_purchase(p_purchase.user_id, p_purchase.purchase_id, v_take, 'disputed', p_event.refund_reference, true);
      end if;
      -- A dispute may be for more than the price, as exchange rates move; a refund waits for what a dispute holds of it.
      if v_take = v_due and v_due > 0 or v_take > 0 and p_event.kind <> 'refunded' then
        p_event.status := 'applied';
      elsif v_due > 0 and v_is_disputed then
        p_event.reason := 'disputed';
      else
        p_event.status := 'superseded';
      end if;
  end case;
  return p_event;
end
$$;

comment on function credits.reverse_payment(credits.payment_events, credits.credit_purchases) is
  'Internal. Part of try_payment_event: a refund or a dispute of the payment that completed the purchase, which has just been read under the lock of its wallet. '
  'Where a refund and a dispute overlap, together they take the price and no more, in whatever order they are reported.';

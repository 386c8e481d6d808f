create or replace function credits.take_reversed(
  p_event credits.payment_events,
  p_purchase credits.credit_purchases
)
returns credits.payment_events
language plpgsql
volatile
as $$
declare
  v_is_dispute boolean := p_event.kind <> 'refunded';
  v_refunds bigint;
  v_refunded bigint;
  v_due bigint;
  v_take bigint;
begin
  select count(*), coalesce(sum(r.amount_minor) filter (where not r.is_dispute and r.reinstated_at is null), 0) into v_refunds, v_refunded
  from credits.credit_purchase_refunds r
  where r.user_id = p_purchase.user_id and r.purchase_id = p_purchase.purchase_id;
  -- A dispute may be for more than the price, as exchange rates move; a refund reports all that was refunded so far.
  v_due := case when v_is_dispute then least(p_event.amount_minor, p_purchase.price_minor) else p_event.amount_minor - v_refunded end;
  v_take := least(v_due, p_purchase.price_minor - p_purchase.refunded_minor);
  if v_take < v_due and credits.is_disputed(p_purchase) then
    p_event.reason := 'disputed';
  else
    p_event.status := case when v_take > 0 then 'applied' else 'superseded' end;
  end if;
  if v_is_dispute and p_event.status = 'applied' then
    perform credits.refund_purchase(p_purchase.user_id, p_purchase.purchase_id, v_take, 'disputed', p_event.refund_reference, true);
  -- A refund that waits for a dispute takes what there is already; a dispute does not, as it is given back in one piece.
  elsif not v_is_dispute and v_take > 0 then
    perform credits.refund_purchase(p_purchase.user_id, p_purchase.purchase_id, v_take, 'refunded',
      format('%s refund %s', p_event.provider_reference, v_refunds + 1));
  end if;
  return p_event;
end
$$;

comment on function credits.take_reversed(credits.payment_events, credits.credit_purchases) is
  'Internal. Part of reverse_payment: takes back what a refund or a dispute is for. Refunds and disputes that overlap together take the price and no more, in whatever order they are '
  'reported; what an open dispute holds can be taken when that has ended.';

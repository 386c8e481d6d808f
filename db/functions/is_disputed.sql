create or replace function credits.is_disputed(p_purchase credits.credit_purchases)
returns boolean
language plpgsql
stable
as $$
begin
  return exists (
    select
    from credits.credit_purchase_refunds r
    where r.user_id = p_purchase.user_id and r.purchase_id = p_purchase.purchase_id and r.is_dispute and r.reinstated_at is null
      and not exists (
        select
        from credits.payment_events e
        where e.provider = p_purchase.provider and e.provider_reference = p_purchase.provider_reference and e.kind = 'dispute_lost'
          and e.refund_reference = r.provider_reference));
end
$$;

comment on function credits.is_disputed(credits.credit_purchases) is
  'Internal. Whether a dispute of the purchase is neither lost nor won: what it holds may come back.';

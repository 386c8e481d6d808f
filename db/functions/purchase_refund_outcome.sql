create or replace function credits.purchase_refund_outcome(
  p_purchase credits.credit_purchases,
  p_refund credits.credit_purchase_refunds,
  p_replayed boolean
)
returns jsonb
language plpgsql
stable
as $$
declare
  v_owing numeric := coalesce((
    select sum((d.value ->> 'amount')::numeric)
    from jsonb_array_elements(p_refund.allocations) d
    where d.value ->> 'source' = 'purchase_debt'
  ), 0);
  v_log_id bigint := coalesce(p_refund.reinstated_log_id, p_refund.log_id);
begin
  return credits.purchase_outcome(p_purchase, jsonb_build_object(
    'refund_no', p_refund.refund_no,
    'refund_reference', p_refund.provider_reference,
    'is_dispute', p_refund.is_dispute,
    'amount_minor', p_refund.amount_minor,
    'credits_taken', trim_scale(p_refund.credits),
    'revoked', trim_scale(p_refund.credits - v_owing),
    'owing', trim_scale(v_owing),
    'refundable_minor', p_purchase.price_minor - p_purchase.refunded_minor,
    'balance_after', (
      select trim_scale(l.balance_after)
      from credits.credit_entries l
      where l.user_id = p_refund.user_id and l.credit_type = 'credits' and l.entry_no = v_log_id),
    'log_id', v_log_id,
    'reinstated', p_refund.reinstated_at is not null,
    'replayed', p_replayed));
end
$$;

comment on function credits.purchase_refund_outcome(credits.credit_purchases, credits.credit_purchase_refunds, boolean) is
  'Internal. The outcome ok of a refund or dispute of a purchase, or of its repetition: what it took and the balance after it, and the purchase as it is now.';

create or replace function credits.purchase_outcome(
  p_purchase credits.credit_purchases,
  p_fields jsonb
)
returns jsonb
language plpgsql
stable
as $$
begin
  return credits.outcome('ok', jsonb_build_object(
    'purchase_id', p_purchase.purchase_id,
    'package_id', p_purchase.package_id,
    'status', p_purchase.status,
    'credits', trim_scale(p_purchase.credits),
    'price_minor', p_purchase.price_minor,
    'currency', p_purchase.currency,
    'features', p_purchase.features,
    'provider', p_purchase.provider,
    'provider_reference', p_purchase.provider_reference,
    'refunded_minor', p_purchase.refunded_minor,
    'refunded_credits', trim_scale(p_purchase.refunded_credits)) || p_fields);
end
$$;

comment on function credits.purchase_outcome(credits.credit_purchases, jsonb) is
  'Internal. The outcome ok of an operation on a purchase: the purchase as it is now, then the fields of the operation.';

create or replace function credits.reinstate_purchase(
  p_user_id uuid,
  p_purchase_id uuid,
  p_provider_reference text,
  p_reason text default null
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_purchase credits.credit_purchases;
  v_result jsonb;
begin
  perform credits.check_argument(length(p_provider_reference) between 1 and 255, 'p_provider_reference', 'must have 1 to 255 characters');
  perform credits.check_argument(coalesce(length(p_reason) between 1 and 255, true), 'p_reason', 'must have 1 to 255 characters');
  select p.* into v_purchase
  from credits.credit_purchases p
  where p.user_id = p_user_id and p.purchase_id = p_purchase_id and p.grant_no is not null;
  perform credits.lock_payment(v_purchase.provider, v_purchase.provider_reference);
  v_result := credits.undo_refund(p_user_id, p_purchase_id, p_provider_reference, p_reason);
  perform credits.settle_payment(v_purchase.provider, v_purchase.provider_reference);
  return v_result;
end
$$;

comment on function credits.reinstate_purchase(uuid, uuid, text, text) is
  'A dispute that was won, or a refund that failed at the provider and so left the money where it was: gives back exactly what it took (p_provider_reference is the one it was '
  'booked by). What was revoked goes back to its grant; what is still owed for refunded purchases is struck out; what was paid of that since is granted as purchased credits, '
  'which belong to the purchase and are revoked with it. Once: again it returns replayed. What waited for that (another dispute of the payment, say) is applied next. Returns code '
  'ok, unknown_account or not_found, and what refund_purchase returns. Locks the payment and its events that wait, then the wallet row of credits. Raises UC001 for malformed '
  'arguments, UC335 for a refund of a payment of which no refund is reported as failed.';

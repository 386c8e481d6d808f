create or replace function credits.fail_purchase(
  p_user_id uuid,
  p_purchase_id uuid,
  p_reason text
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_locked record;
  v_wallet credits.wallets;
  v_purchase credits.credit_purchases;
  v_result jsonb;
begin
  perform credits.check_argument(length(p_reason) between 1 and 255, 'p_reason', 'must have 1 to 255 characters');
  v_locked := credits.lock_purchase(p_user_id, p_purchase_id);
  v_wallet := v_locked.wallet;
  v_purchase := v_locked.purchase;
  if v_wallet.user_id is null then
    return credits.outcome('unknown_account', jsonb_build_object('user_id', p_user_id));
  elsif v_purchase.user_id is null then
    return credits.outcome('not_found', jsonb_build_object('purchase_id', p_purchase_id));
  elsif v_purchase.status = 'failed' then
    return credits.purchase_outcome(v_purchase, jsonb_build_object('failure_reason', v_purchase.failure_reason, 'replayed', true));
  elsif v_purchase.status <> 'pending' then
    perform credits.fail('UC330', 'only a pending purchase can fail', jsonb_build_object('code', 'purchase_not_pending',
      'purchase_id', p_purchase_id, 'status', v_purchase.status));
  end if;

  v_wallet := credits.apply_due(v_wallet, v_locked.now);
  update credits.credit_purchases p
  set status = 'failed', failure_reason = p_reason
  where p.user_id = p_user_id and p.purchase_id = p_purchase_id
  returning p.* into v_purchase;
  v_wallet.change_no := v_wallet.change_no + 1;
  perform credits.finish_operation(v_wallet, v_locked.now);
  v_result := credits.purchase_outcome(v_purchase, jsonb_build_object('failure_reason', p_reason, 'replayed', false));
  perform credits.emit_purchase(p_user_id, 'purchase.failed', v_result, v_locked.now);
  return v_result;
end
$$;

comment on function credits.fail_purchase(uuid, uuid, text) is
  'Records that the payment of a pending purchase failed, and why. Again: replayed, with the first reason. Returns code ok, unknown_account or not_found, '
  'what create_purchase returns, failure_reason, replayed. Locks the wallet row of credits, then reads the purchase. Raises UC001 for malformed '
  'arguments, UC330 if the purchase was paid.';

create or replace function credits.keep_checkout(
  p_user_id uuid,
  p_purchase_id uuid,
  p_checkout_reference text,
  p_checkout_url text
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
begin
  perform credits.check_argument(length(p_checkout_reference) between 1 and 255, 'p_checkout_reference', 'must have 1 to 255 characters');
  perform credits.check_argument(length(p_checkout_url) between 1 and 4096, 'p_checkout_url', 'must have 1 to 4096 characters');
  v_locked := credits.lock_purchase(p_user_id, p_purchase_id);
  v_wallet := v_locked.wallet;
  v_purchase := v_locked.purchase;
  if v_wallet.user_id is null then
    return credits.outcome('unknown_account', jsonb_build_object('user_id', p_user_id));
  elsif v_purchase.user_id is null then
    return credits.outcome('not_found', jsonb_build_object('purchase_id', p_purchase_id));
  end if;

  if v_purchase.status = 'pending' and v_purchase.checkout_reference is null then
    v_wallet := credits.apply_due(v_wallet, v_locked.now);
    update credits.credit_purchases p
    set checkout_reference = p_checkout_reference, checkout_url = p_checkout_url
    where p.user_id = p_user_id and p.purchase_id = p_purchase_id
    returning p.* into v_purchase;
    v_wallet.change_no := v_wallet.change_no + 1;
    perform credits.finish_operation(v_wallet, v_locked.now);
  end if;
  return credits.purchase_outcome(v_purchase, jsonb_build_object('checkout_url', case when v_purchase.status = 'pending' then v_purchase.checkout_url end,
    'replayed', v_purchase.checkout_reference is distinct from p_checkout_reference));
end
$$;

comment on function credits.keep_checkout(uuid, uuid, text, text) is
  'Keeps the page on which a pending purchase is paid: the provider''s id of it and its address. The first one stays. Returns code ok, unknown_account or not_found, what '
  'create_purchase returns, checkout_url (null once it is not pending), and replayed if another page was kept. Locks the wallet row of credits, then reads the purchase. '
  'Raises UC001 for malformed arguments.';

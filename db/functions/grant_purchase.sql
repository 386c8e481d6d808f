create or replace function credits.grant_purchase(
  p_user_id uuid,
  p_purchase_id uuid,
  p_provider_reference text,
  p_paid_minor bigint,
  p_currency text
)
returns jsonb
language plpgsql
volatile
as $$
declare
  v_locked record;
  v_wallet credits.wallets;
  v_purchase credits.credit_purchases;
  v_now timestamptz;
  v_balance numeric;
  v_result jsonb;
begin
  v_locked := credits.lock_purchase(p_user_id, p_purchase_id);
  v_wallet := v_locked.wallet;
  v_purchase := v_locked.purchase;
  v_now := v_locked.now;
  if v_wallet.user_id is null then
    return credits.outcome('unknown_account', jsonb_build_object('user_id', p_user_id));
  elsif v_purchase.user_id is null then
    return credits.outcome('not_found', jsonb_build_object('purchase_id', p_purchase_id));
  end if;

  if p_paid_minor <> v_purchase.price_minor or p_currency <> v_purchase.currency then
    perform credits.fail('UC331', 'what was paid is not the price of the purchase', jsonb_build_object('code', 'payment_differs',
      'purchase_id', p_purchase_id, 'price_minor', v_purchase.price_minor, 'currency', v_purchase.currency,
      'paid_minor', p_paid_minor, 'paid_currency', p_currency));
  end if;
  if v_purchase.grant_no is not null then
    if v_purchase.provider_reference is distinct from p_provider_reference then
      perform credits.fail('UC332', 'the purchase was completed by another payment', jsonb_build_object('code', 'paid_otherwise',
        'purchase_id', p_purchase_id, 'status', v_purchase.status, 'provider_reference', v_purchase.provider_reference));
    end if;
    return credits.purchase_outcome(v_purchase, jsonb_build_object(
      'balance_after', (
        select trim_scale(l.balance_after)
        from credits.credit_entries l
        where l.user_id = p_user_id and l.credit_type = 'credits' and l.entry_no = v_purchase.grant_no),
      'log_id', v_purchase.grant_no,
      'replayed', true));
  end if;
  -- One payment pays for one purchase, whoever's.
  update credits.payments p
  set payer_id = p_user_id, purchase_id = p_purchase_id
  where p.provider = v_purchase.provider and p.provider_reference = p_provider_reference
    and coalesce((p.payer_id, p.purchase_id) = (p_user_id, p_purchase_id), true);
  if not found then
    perform credits.fail('UC333', 'the payment completed another purchase', jsonb_build_object('code', 'payment_used',
      'purchase_id', p_purchase_id, 'provider_reference', p_provider_reference));
  end if;

  v_wallet := credits.apply_due(v_wallet, v_now);
  perform credits.check_argument(v_wallet.balance + v_purchase.credits <= 10000000000000,
    'p_purchase_id', 'would lift the balance above 10000000000000');
  v_wallet := credits.add_grant(v_wallet, v_now, v_purchase.credits, 'purchased', p_reference => p_provider_reference,
    p_metadata => jsonb_build_object('purchase_id', p_purchase_id, 'package_id', v_purchase.package_id,
      'price_minor', v_purchase.price_minor, 'currency', v_purchase.currency));
  update credits.credit_purchases p
  set status = 'paid', provider_reference = p_provider_reference, grant_no = v_wallet.entry_no, completed_at = v_wallet.last_entry_at
  where p.user_id = p_user_id and p.purchase_id = p_purchase_id
  returning p.* into v_purchase;
  perform credits.resume_top_up(v_purchase);
  v_balance := v_wallet.balance;
  -- Quiet, as the purchase is what is told.
  v_wallet := credits.finish_operation(v_wallet, v_now, true);
  perform credits.notify(p_user_id, 'purchase', 'info', 'credits', '', 'Credits purchased',
    format('%s credits were added; %s available.', trim_scale(v_purchase.credits), trim_scale(v_wallet.balance + v_wallet.debt)),
    jsonb_build_object('purchase_id', p_purchase_id, 'package_id', v_purchase.package_id, 'credits', trim_scale(v_purchase.credits),
      'price_minor', v_purchase.price_minor, 'currency', v_purchase.currency,
      'available', trim_scale(v_wallet.balance + v_wallet.debt)), v_now);
  v_result := credits.purchase_outcome(v_purchase, jsonb_build_object(
    'balance_after', trim_scale(v_balance), 'log_id', v_purchase.grant_no, 'replayed', false));
  perform credits.emit_purchase(p_user_id, 'purchase.completed', v_result, v_now);
  return v_result;
end
$$;

comment on function credits.grant_purchase(uuid, uuid, text, bigint, text) is
  'Internal. complete_purchase() without its locks and its look at what waits: claims the payment for the purchase, and grants the credits. The caller holds the lock of the '
  'payment (lock_payment). Locks the wallet row of credits.';

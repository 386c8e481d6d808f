create or replace function credits.undo_refund(
  p_user_id uuid,
  p_purchase_id uuid,
  p_provider_reference text,
  p_reason text
)
returns jsonb
language plpgsql
volatile
as $$
declare
  v_locked record;
  v_wallet credits.wallets;
  v_purchase credits.credit_purchases;
  v_refund credits.credit_purchase_refunds;
  v_now timestamptz;
  v_part record;
  v_forgiven numeric;
  v_returned numeric := 0;
  v_paid_since numeric := 0;
  v_grant_no bigint;
  v_allocations jsonb := '[]';
  v_entry credits.credit_ledger;
  v_result jsonb;
begin
  v_locked := credits.lock_purchase(p_user_id, p_purchase_id);
  v_wallet := v_locked.wallet;
  v_purchase := v_locked.purchase;
  v_now := v_locked.now;
  if v_wallet.user_id is null then
    return credits.outcome('unknown_account', jsonb_build_object('user_id', p_user_id));
  end if;
  select r.* into v_refund
  from credits.credit_purchase_refunds r
  where r.user_id = p_user_id and r.purchase_id = p_purchase_id and r.provider_reference = p_provider_reference;
  if not found then
    return credits.outcome('not_found', jsonb_build_object('purchase_id', p_purchase_id, 'provider_reference', p_provider_reference));
  elsif v_refund.reinstated_at is not null then
    return credits.purchase_refund_outcome(v_purchase, v_refund, true);
  elsif not v_refund.is_dispute and not exists (
    select
    from credits.payment_events e
    where e.provider = v_purchase.provider and e.provider_reference = v_purchase.provider_reference and e.kind = 'refund_failed')
  then
    perform credits.fail('UC335', 'only a dispute, or a refund that failed, can be reinstated', jsonb_build_object('code', 'refund_stands',
      'purchase_id', p_purchase_id, 'provider_reference', p_provider_reference));
  end if;

  v_wallet := credits.apply_due(v_wallet, v_now);
  v_wallet := credits.flush_open_grant(v_wallet);
  -- What was revoked of a grant goes back to that grant and to no other: so a grant never has more than it gave, whatever a hold or a
  -- refund still returns to it.
  for v_part in
    select (d.value ->> 'grant')::bigint as grant_no, d.value as whole, (d.value ->> 'amount')::numeric as amount
    from jsonb_array_elements(v_refund.allocations) with ordinality as d (value, n)
    order by d.n
  loop
    if v_part.grant_no is null then
      v_forgiven := least(v_part.amount, v_wallet.purchase_debt);
      v_paid_since := v_part.amount - v_forgiven;
      if v_forgiven > 0 then
        v_wallet.debt := v_wallet.debt - v_forgiven;
        v_wallet.purchase_debt := v_wallet.purchase_debt - v_forgiven;
        v_returned := v_returned + v_forgiven;
        v_allocations := v_allocations || (v_part.whole || jsonb_build_object('amount', trim_scale(v_forgiven)));
      end if;
    else
      update credits.stored_grants g
      set remaining = g.remaining + v_part.amount
      where g.user_id = p_user_id and g.credit_type = 'credits' and g.grant_no = v_part.grant_no;
      v_returned := v_returned + v_part.amount;
      v_allocations := v_allocations || v_part.whole;
    end if;
  end loop;
  v_entry.reference_id := p_purchase_id;
  v_entry.reference := p_provider_reference;
  v_entry.related_entry_no := v_purchase.grant_no;
  v_entry.metadata := jsonb_build_object('purchase_id', p_purchase_id, 'reinstated', p_provider_reference, 'reason', p_reason);
  if v_returned > 0 then
    v_wallet := credits.add_entry(v_wallet, v_now, 'adjustment', v_returned, null, v_allocations, v_entry);
  end if;
  -- The debt that other credits have paid since comes back as a grant, as it has none to go back to.
  if v_paid_since > 0 then
    v_wallet := credits.add_grant(v_wallet, v_now, v_paid_since, 'purchased', p_reference => p_provider_reference,
      p_metadata => v_entry.metadata, p_related_entry_no => v_purchase.grant_no);
    v_grant_no := v_wallet.entry_no;
  end if;

  update credits.credit_purchase_refunds r
  set reinstated_at = v_now, reinstated_log_id = v_wallet.entry_no, reinstated_grant_no = v_grant_no
  where r.user_id = p_user_id and r.purchase_id = p_purchase_id and r.refund_no = v_refund.refund_no
  returning r.* into v_refund;
  update credits.credit_purchases p
  set status = 'paid', refunded_minor = p.refunded_minor - v_refund.amount_minor, refunded_credits = p.refunded_credits - v_refund.credits
  where p.user_id = p_user_id and p.purchase_id = p_purchase_id
  returning p.* into v_purchase;
  v_wallet.change_no := v_wallet.change_no + 1;
  perform credits.finish_operation(v_wallet, v_now);
  v_result := credits.purchase_refund_outcome(v_purchase, v_refund, false);
  perform credits.emit_purchase(p_user_id, 'purchase.reinstated', v_result, v_now);
  return v_result;
end
$$;

comment on function credits.undo_refund(uuid, uuid, text, text) is
  'Internal. reinstate_purchase() without a look at what waits. Locks the wallet row of credits.';

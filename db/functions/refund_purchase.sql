create or replace function credits.refund_purchase(
  p_user_id uuid,
  p_purchase_id uuid,
  p_amount_minor bigint default null,
  p_reason text default null,
  p_provider_reference text default null,
  p_is_dispute boolean default false
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
  v_refund credits.credit_purchase_refunds;
  v_now timestamptz;
  v_refundable bigint;
  v_amount bigint;
  v_credits numeric;
  v_rest numeric;
  v_grant record;
  v_taken numeric;
  v_revoked jsonb := '[]';
  v_owing jsonb := '[]';
  v_entry credits.credit_ledger;
  v_result jsonb;
begin
  perform credits.check_argument(coalesce(p_amount_minor > 0, true), 'p_amount_minor', 'must be greater than zero');
  perform credits.check_argument(coalesce(length(p_reason) between 1 and 255, true), 'p_reason', 'must have 1 to 255 characters');
  perform credits.check_argument(coalesce(length(p_provider_reference) between 1 and 255, true),
    'p_provider_reference', 'must have 1 to 255 characters');
  perform credits.check_argument(p_is_dispute is not null, 'p_is_dispute', 'must not be null');
  perform credits.check_argument(p_provider_reference is not null or not p_is_dispute,
    'p_provider_reference', 'a dispute needs its reference, by which it can be reinstated');
  v_locked := credits.lock_purchase(p_user_id, p_purchase_id);
  v_wallet := v_locked.wallet;
  v_purchase := v_locked.purchase;
  v_now := v_locked.now;
  if v_wallet.user_id is null then
    return credits.outcome('unknown_account', jsonb_build_object('user_id', p_user_id));
  elsif v_purchase.user_id is null then
    return credits.outcome('not_found', jsonb_build_object('purchase_id', p_purchase_id));
  end if;

  if p_provider_reference is not null then
    select r.* into v_refund
    from credits.credit_purchase_refunds r
    where r.user_id = p_user_id and r.provider = v_purchase.provider and r.provider_reference = p_provider_reference;
    if found then
      if v_refund.purchase_id <> p_purchase_id or v_refund.is_dispute <> p_is_dispute or v_refund.amount_minor <> p_amount_minor then
        perform credits.fail('UC334', 'the reference is that of another refund', jsonb_build_object('code', 'refund_reference_used',
          'provider_reference', p_provider_reference, 'purchase_id', v_refund.purchase_id, 'is_dispute', v_refund.is_dispute,
          'amount_minor', v_refund.amount_minor));
      end if;
      return credits.purchase_refund_outcome(v_purchase, v_refund, true);
    end if;
  end if;
  if v_purchase.grant_no is null then
    perform credits.fail('UC330', 'the purchase is not paid', jsonb_build_object('code', 'purchase_not_paid', 'purchase_id', p_purchase_id,
      'status', v_purchase.status));
  end if;
  v_refundable := v_purchase.price_minor - v_purchase.refunded_minor;
  v_amount := coalesce(p_amount_minor, v_refundable);
  if v_amount = 0 or v_amount > v_refundable then
    return credits.outcome('already_settled', jsonb_build_object('purchase_id', p_purchase_id, 'refundable_minor', v_refundable));
  end if;

  v_wallet := credits.apply_due(v_wallet, v_now);
  v_wallet := credits.flush_open_grant(v_wallet);
  -- The share of everything refunded so far, less what was taken for it already: so the last refund takes exactly what is left to take.
  v_credits := greatest(round(v_purchase.credits::numeric(40,20) * (v_purchase.refunded_minor + v_amount) / v_purchase.price_minor, 6)
    - v_purchase.refunded_credits, 0);
  v_rest := v_credits;
  for v_grant in
    select g.grant_no, g.remaining
    from credits.stored_grants g
    where g.user_id = p_user_id and g.credit_type = 'credits' and g.remaining > 0
      and (g.grant_no = v_purchase.grant_no or g.grant_no in (
        select r.reinstated_grant_no from credits.credit_purchase_refunds r where r.user_id = p_user_id and r.purchase_id = p_purchase_id))
    order by g.grant_no
  loop
    exit when v_rest = 0;
    v_taken := least(v_rest, v_grant.remaining);
    v_rest := v_rest - v_taken;
    update credits.stored_grants g
    set remaining = g.remaining - v_taken
    where g.user_id = p_user_id and g.credit_type = 'credits' and g.grant_no = v_grant.grant_no;
    v_revoked := v_revoked || jsonb_build_object('grant', v_grant.grant_no, 'source', 'purchased', 'amount', trim_scale(v_taken));
  end loop;
  v_entry.reference_id := p_purchase_id;
  v_entry.reference := coalesce(p_provider_reference, p_reason);
  v_entry.related_entry_no := v_purchase.grant_no;
  v_entry.metadata := jsonb_build_object('purchase_id', p_purchase_id, 'amount_minor', v_amount, 'currency', v_purchase.currency,
    'is_dispute', p_is_dispute, 'reason', p_reason);
  if v_rest < v_credits then
    v_wallet := credits.add_entry(v_wallet, v_now, 'revocation', v_rest - v_credits,
      case jsonb_array_length(v_revoked) when 1 then (v_revoked -> 0 ->> 'grant')::bigint end,
      case when jsonb_array_length(v_revoked) > 1 then v_revoked end, v_entry);
  end if;
  if v_rest > 0 then
    v_owing := jsonb_build_array(jsonb_build_object('grant', null, 'source', 'purchase_debt', 'amount', trim_scale(v_rest)));
    v_wallet.debt := v_wallet.debt + v_rest;
    v_wallet.purchase_debt := v_wallet.purchase_debt + v_rest;
    v_wallet := credits.add_entry(v_wallet, v_now, 'debt', -v_rest, null, v_owing, v_entry);
  end if;

  update credits.credit_purchases p
  set refunded_minor = p.refunded_minor + v_amount,
    refunded_credits = p.refunded_credits + v_credits,
    status = case when v_amount = v_refundable then 'refunded' else 'paid' end
  where p.user_id = p_user_id and p.purchase_id = p_purchase_id
  returning p.* into v_purchase;
  insert into credits.credit_purchase_refunds
    (user_id, purchase_id, refund_no, provider, provider_reference, is_dispute, amount_minor, credits, allocations, log_id, reason, created_at)
  values
    (p_user_id, p_purchase_id,
      (select count(*) + 1 from credits.credit_purchase_refunds r where r.user_id = p_user_id and r.purchase_id = p_purchase_id),
      v_purchase.provider, p_provider_reference, p_is_dispute, v_amount, v_credits, v_revoked || v_owing, v_wallet.entry_no, p_reason, v_now)
  returning * into v_refund;
  v_wallet.change_no := v_wallet.change_no + 1;
  perform credits.finish_operation(v_wallet, v_now);
  v_result := credits.purchase_refund_outcome(v_purchase, v_refund, false);
  perform credits.emit_purchase(p_user_id, case when p_is_dispute then 'purchase.disputed' else 'purchase.refunded' end, v_result, v_now);
  return v_result;
end
$$;

comment on function credits.refund_purchase(uuid, uuid, bigint, text, text, boolean) is
  'Takes back the credits of a paid purchase in proportion to what is refunded of its price: p_amount_minor minor units, null for all that is left; several '
  'refunds up to the price, which together take exactly the purchase''s credits. What is left of its grant is revoked; the rest, spent or held, becomes '
  'debt that purchased credits alone pay (purchase_debt). p_provider_reference is the id of the refund or dispute itself: given again, it returns the '
  'first result, replayed; without one, each call is one more refund. p_is_dispute: it can be reinstated. Returns code ok, unknown_account, not_found or '
  'already_settled (more than refundable_minor), what create_purchase returns, refund_no, amount_minor, is_dispute, credits_taken, revoked, owing, '
  'refundable_minor, balance_after, log_id, reinstated, replayed. Locks the wallet row of credits, then reads the purchase. Raises UC001 for malformed '
  'arguments, UC330 if the purchase is not paid, UC334 if the reference is that of another refund.';

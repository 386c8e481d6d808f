create or replace function credits.complete_purchase(
  p_user_id uuid,
  p_purchase_id uuid,
  p_provider_reference text,
  p_paid_minor bigint default null,
  p_currency text default null
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_provider text;
  v_result jsonb;
begin
  perform credits.check_argument(length(p_provider_reference) between 1 and 255, 'p_provider_reference', 'must have 1 to 255 characters');
  perform credits.check_argument(coalesce(p_paid_minor >= 0, true), 'p_paid_minor', 'must not be negative');
  perform credits.check_argument(coalesce(p_currency ~ '^[A-Z]{3}$', true), 'p_currency', 'must be an ISO 4217 code, such as USD');
  select p.provider into v_provider
  from credits.credit_purchases p
  where p.user_id = p_user_id and p.purchase_id = p_purchase_id and p.grant_no is null;
  if found then
    perform credits.lock_payment(v_provider, p_provider_reference);
  end if;
  v_result := credits.grant_purchase(p_user_id, p_purchase_id, p_provider_reference, p_paid_minor, p_currency);
  if v_provider is not null then
    perform credits.settle_payment(v_provider, p_provider_reference);
  end if;
  return v_result;
end
$$;

comment on function credits.complete_purchase(uuid, uuid, text, bigint, text) is
  'Grants the credits of a pending purchase, or of a failed one whose payment arrived after all; debts, also those of refunded purchases, are paid from '
  'them first. p_provider_reference is the payment''s id, which pays for one purchase of one user; p_paid_minor (minor units) and p_currency, where given, must be the purchase''s. Completing '
  'again by the same payment grants nothing and returns replayed, also after a refund. What the provider had reported of the payment before (a refund, say) is applied next. Returns code ok, unknown_account or not_found, what create_purchase '
  'returns, log_id (the grant''s number), balance_after (by that entry; what chat sessions owed is paid next), replayed. Notifies the user. Locks the payment and its events that wait, then '
  'the wallet row of credits. Raises UC001 for malformed arguments, UC331 if something else was paid, UC332 if another payment completed the purchase, UC333 if the payment completed another one.';

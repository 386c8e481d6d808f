create or replace function credits.apply_payment_event(
  p_provider text,
  p_event_id text,
  p_kind text,
  p_user_id uuid default null,
  p_purchase_id uuid default null,
  p_provider_reference text default null,
  p_amount_minor bigint default null,
  p_currency text default null,
  p_refund_reference text default null,
  p_failure_reason text default null,
  p_customer_reference text default null,
  p_payment_method text default null,
  p_payload jsonb default '{}'
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  c_kinds constant text[] := '{completed,processing,failed,expired,refunded,refund_failed,disputed,dispute_won,dispute_lost}';
  v_event credits.payment_events;
  v_is_new boolean;
begin
  p_payload := coalesce(p_payload, '{}');
  perform credits.check_argument(p_provider ~ '^[a-z][a-z0-9_.-]{0,62}$', 'p_provider', 'must be a lower-case name');
  perform credits.check_argument(length(p_event_id) between 1 and 255, 'p_event_id', 'must have 1 to 255 characters');
  perform credits.check_argument(p_kind = any (c_kinds), 'p_kind', format('must be one of %s', array_to_string(c_kinds, ', ')));
  perform credits.check_argument(coalesce(length(p_provider_reference) between 1 and 200, true),
    'p_provider_reference', 'must have 1 to 200 characters');
  perform credits.check_argument(coalesce(p_amount_minor >= 0, true), 'p_amount_minor', 'must not be negative');
  perform credits.check_argument(coalesce(p_currency ~ '^[A-Z]{3}$', true), 'p_currency', 'must be an ISO 4217 code, such as USD');
  perform credits.check_argument(coalesce(length(p_refund_reference) between 1 and 255, true), 'p_refund_reference', 'must have 1 to 255 characters');
  perform credits.check_argument(coalesce(length(p_failure_reason) between 1 and 255, true), 'p_failure_reason', 'must have 1 to 255 characters');
  perform credits.check_argument(coalesce(length(p_customer_reference) between 1 and 255, true),
    'p_customer_reference', 'must have 1 to 255 characters');
  perform credits.check_argument(coalesce(length(p_payment_method) between 1 and 255, true), 'p_payment_method', 'must have 1 to 255 characters');

  perform credits.lock_payment(p_provider, p_provider_reference);
  insert into credits.payment_events
    (payment_event_id, provider, event_id, kind, payer_id, purchase_id, provider_reference, amount_minor, currency, refund_reference, failure_reason,
      customer_reference, payment_method, payload, status, received_at)
  values
    (gen_random_uuid(), p_provider, p_event_id, p_kind, p_user_id, p_purchase_id, p_provider_reference, p_amount_minor, p_currency,
      p_refund_reference, p_failure_reason, p_customer_reference, p_payment_method,
      -- Nothing that was paid is refused for its length.
      case when octet_length(p_payload::text) <= 65536 then p_payload else jsonb_build_object('truncated', left(p_payload::text, 10000)) end,
      'waiting', credits.clock_now())
  on conflict (provider, event_id) do nothing;
  v_is_new := found;
  -- A repeat of what waits is one more try. What waits no more is only read, so that no erasure meets it locked.
  select e.* into v_event
  from credits.payment_events e
  where e.provider = p_provider and e.event_id = p_event_id and e.status = 'waiting'
  for no key update;
  if found then
    perform credits.settle_payment(p_provider, p_provider_reference, v_event.payment_event_id);
  end if;
  select e.* into v_event from credits.payment_events e where e.provider = p_provider and e.event_id = p_event_id;
  return credits.payment_event_outcome(v_event, not v_is_new);
end
$$;

comment on function credits.apply_payment_event(text, text, text, uuid, uuid, text, bigint, text, text, text, text, text, jsonb) is
  'Takes in what a payment provider reports, once per event id, in whatever order and however often it comes: p_kind completed, processing, failed, expired, refunded '
  '(p_amount_minor is all that was refunded so far), refund_failed, disputed, dispute_won or dispute_lost (p_refund_reference: the dispute''s id). p_provider_reference is '
  'the payment, which pays for one purchase of one user; the user and the purchase may be null where the payment is known. p_customer_reference and p_payment_method, '
  'where given, are kept for automatic top-ups. What cannot be applied is kept (status waiting, and reason) and tried again when more is reported of the payment, or by '
  'retry_payment_event(). Returns code ok, payment_event_id, provider, event_id, kind, status (waiting, applied or superseded), reason, user_id, purchase_id, replayed. '
  'Locks the payment, the event, then the wallet row of credits. Raises UC001 for malformed arguments.';

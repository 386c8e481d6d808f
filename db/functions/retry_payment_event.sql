create or replace function credits.retry_payment_event(
  p_payment_event_id uuid,
  p_user_id uuid default null,
  p_purchase_id uuid default null
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_event credits.payment_events;
begin
  perform credits.check_argument(p_payment_event_id is not null, 'p_payment_event_id', 'must not be null');
  perform credits.check_argument((p_user_id is null) = (p_purchase_id is null), 'p_purchase_id', 'must be given with p_user_id, and only then');
  select e.* into v_event from credits.payment_events e where e.payment_event_id = p_payment_event_id;
  if not found then
    return credits.outcome('not_found', jsonb_build_object('payment_event_id', p_payment_event_id));
  end if;
  perform credits.lock_payment(v_event.provider, v_event.provider_reference);
  update credits.payment_events e
  set payer_id = coalesce(p_user_id, e.payer_id), purchase_id = coalesce(p_purchase_id, e.purchase_id)
  where e.payment_event_id = p_payment_event_id and e.status = 'waiting';
  if not found then
    select e.* into v_event from credits.payment_events e where e.payment_event_id = p_payment_event_id;
    return credits.payment_event_outcome(v_event, true);
  end if;
  perform credits.settle_payment(v_event.provider, v_event.provider_reference, p_payment_event_id);
  select e.* into v_event from credits.payment_events e where e.payment_event_id = p_payment_event_id;
  return credits.payment_event_outcome(v_event, false);
end
$$;

comment on function credits.retry_payment_event(uuid, uuid, uuid) is
  'Tries a payment event that waits once more, as if it had named the purchase that is given here, if one is. Returns what apply_payment_event returns; '
  'replayed if it waits no more; code not_found for an unknown id. Locks the payment, the event, then the wallet row of credits. Raises UC001 for malformed arguments.';

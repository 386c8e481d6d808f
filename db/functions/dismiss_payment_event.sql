create or replace function credits.dismiss_payment_event(
  p_payment_event_id uuid,
  p_reason text
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
  perform credits.check_argument(length(p_reason) between 1 and 255, 'p_reason', 'must have 1 to 255 characters');
  select e.* into v_event from credits.payment_events e where e.payment_event_id = p_payment_event_id;
  if not found then
    return credits.outcome('not_found', jsonb_build_object('payment_event_id', p_payment_event_id));
  end if;
  perform credits.lock_payment(v_event.provider, v_event.provider_reference);
  update credits.payment_events e
  set status = 'dismissed', reason = p_reason, processed_at = credits.clock_now()
  where e.payment_event_id = p_payment_event_id and e.status = 'waiting'
  returning e.* into v_event;
  if not found then
    select e.* into v_event from credits.payment_events e where e.payment_event_id = p_payment_event_id;
    return credits.payment_event_outcome(v_event, true);
  end if;
  return credits.payment_event_outcome(v_event, false);
end
$$;

comment on function credits.dismiss_payment_event(uuid, text) is
  'An operator has dealt with a payment event that waits, in the way that the reason says: it is not tried again. Returns what apply_payment_event returns; replayed, '
  'and unchanged, if it waits no more; code not_found for an unknown id. Locks the payment and the event. Raises UC001 for malformed arguments.';

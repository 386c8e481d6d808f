create or replace function credits.return_unapplied(p_event credits.payment_events)
returns credits.payment_events
language plpgsql
volatile
as $$
declare
  v_completed credits.payment_events;
begin
  select e.* into v_completed
  from credits.payment_events e
  where e.provider = p_event.provider and e.provider_reference = p_event.provider_reference and e.kind = 'completed'
  -- One that somebody has dealt with before one that waits.
  order by e.status = 'waiting', e.received_at, e.payment_event_id
  limit 1;
  case
    when not found then
      p_event.reason := 'unknown_payment';
    when v_completed.status = 'dismissed' then
      p_event.reason := 'not_applied';
    when v_completed.status <> 'waiting' then
      p_event.status := 'superseded';
    -- Its reason is null as long as it was not tried.
    when v_completed.reason is not null and p_event.kind = 'refunded' and p_event.amount_minor >= v_completed.amount_minor
      and p_event.currency = v_completed.currency
    then
      update credits.payment_events e
      set status = 'superseded', reason = 'refunded', processed_at = credits.clock_now()
      where e.provider = p_event.provider and e.provider_reference = p_event.provider_reference and e.kind = 'completed' and e.status = 'waiting';
      p_event.status := 'superseded';
    else
      p_event.reason := 'not_applied';
  end case;
  return p_event;
end
$$;

comment on function credits.return_unapplied(credits.payment_events) is
  'Internal. Part of try_payment_event: a refund or a dispute of a payment that has completed no purchase. A payment that could not be applied (a second one '
  'for a purchase, say) and was refunded in full needs nobody''s attention any more.';

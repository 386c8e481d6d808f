create or replace function credits.settle_payment(
  p_provider text,
  p_provider_reference text,
  p_first_id uuid default null
)
returns void
language plpgsql
volatile
as $$
declare
  v_id uuid;
  v_event credits.payment_events;
  v_ids uuid[] := array_remove(array[p_first_id], null);
  v_is_first boolean := true;
  v_is_progress boolean;
begin
  -- What one event brings about, or a payment that is refused, may be what another one waits for: again, until nothing moves any more.
  loop
    v_is_progress := v_is_first;
    v_is_first := false;
    foreach v_id in array v_ids loop
      select e.* into v_event from credits.payment_events e where e.payment_event_id = v_id for no key update;
      continue when v_event.status <> 'waiting';
      v_event := credits.try_payment_event(v_event);
      if v_event.status <> 'waiting' then
        v_event.processed_at := credits.clock_now();
        v_is_progress := true;
      end if;
      update credits.payment_events e
      set payer_id = v_event.payer_id, purchase_id = v_event.purchase_id, status = v_event.status, reason = v_event.reason,
        processed_at = v_event.processed_at
      where e.payment_event_id = v_id;
    end loop;
    exit when not v_is_progress;
    v_ids := array(
      select e.payment_event_id
      from credits.payment_events e
      where e.provider = p_provider and e.provider_reference = p_provider_reference and e.status = 'waiting'
      order by e.received_at, e.payment_event_id);
  end loop;
end
$$;

comment on function credits.settle_payment(text, text, uuid) is
  'Internal. Tries a waiting event, if one is given, and then all that wait for the payment. The caller holds the lock of the payment (lock_payment), and reads again what became of it.';

create or replace function credits.payment_event_outcome(
  p_event credits.payment_events,
  p_replayed boolean
)
returns jsonb
language plpgsql
stable
as $$
begin
  return credits.outcome('ok', jsonb_build_object(
    'payment_event_id', p_event.payment_event_id,
    'provider', p_event.provider,
    'event_id', p_event.event_id,
    'kind', p_event.kind,
    'status', p_event.status,
    'reason', p_event.reason,
    'user_id', p_event.payer_id,
    'purchase_id', p_event.purchase_id,
    'replayed', p_replayed));
end
$$;

comment on function credits.payment_event_outcome(credits.payment_events, boolean) is
  'Internal. The outcome ok of whatever was done with a payment event: what became of it.';

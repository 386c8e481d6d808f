create or replace function credits.postpone_webhooks(
  p_delivery credits.webhook_deliveries,
  p_until timestamptz
)
returns void
language plpgsql
volatile
as $$
begin
  update credits.webhook_deliveries d
  set next_attempt_at = p_until
  where (d.user_id, d.delivery_id) in (
    select o.user_id, o.delivery_id
    from credits.webhook_deliveries o
    where o.user_id = p_delivery.user_id and o.endpoint_id = p_delivery.endpoint_id and o.status = 'pending' and o.next_attempt_at < p_until
      and o.delivery_id <> p_delivery.delivery_id
    for update skip locked);
end
$$;

comment on function credits.postpone_webhooks(credits.webhook_deliveries, timestamptz) is
  'Internal. Lets the events of an account that wait behind a delivery wait as long as it does, so that nobody looks at them meanwhile. Waits for no lock.';

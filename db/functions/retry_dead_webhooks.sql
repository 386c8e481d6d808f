create or replace function credits.retry_dead_webhooks(
  p_endpoint_id uuid default null,
  p_delivery_id uuid default null,
  p_limit integer default 10000
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := credits.clock_now();
  v_retried integer;
begin
  perform credits.check_argument(p_endpoint_id is not null or p_delivery_id is not null, 'p_endpoint_id', 'must be given if p_delivery_id is not');
  perform credits.check_argument(p_limit between 1 and 100000, 'p_limit', 'must be 1 to 100000');
  update credits.webhook_deliveries d
  set status = 'pending', attempts = 0, next_attempt_at = v_now, pending_since = v_now, finished_at = null
  where d.status = 'dead' and (d.user_id, d.delivery_id) in (
    select o.user_id, o.delivery_id
    from credits.webhook_deliveries o
    join credits.webhook_endpoints e on e.endpoint_id = o.endpoint_id
    where o.status = 'dead' and o.endpoint_id = coalesce(p_endpoint_id, o.endpoint_id) and o.delivery_id = coalesce(p_delivery_id, o.delivery_id)
    order by o.created_at, o.delivery_id
    limit p_limit
    for update of o skip locked);
  get diagnostics v_retried = row_count;
  if p_delivery_id is not null and v_retried = 0 then
    return credits.outcome('not_found', jsonb_build_object('delivery_id', p_delivery_id));
  end if;
  return credits.outcome('ok', jsonb_build_object('retried', v_retried));
end
$$;

comment on function credits.retry_dead_webhooks(uuid, uuid, integer) is
  'Sends dead deliveries again, with twelve new attempts: those of an endpoint, the oldest p_limit, or the one given. Each comes before the account''s events that are still to be sent, '
  'and after those that were sent meanwhile. Returns code ok and how many it retried, or not_found if p_delivery_id is not dead. Locks those deliveries. Raises UC001 for malformed arguments.';

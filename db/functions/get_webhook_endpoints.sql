create or replace function credits.get_webhook_endpoints()
returns table (
  endpoint_id uuid,
  url text,
  description text,
  events text[],
  is_active boolean,
  created_at timestamptz,
  updated_at timestamptz,
  previous_secret_until timestamptz,
  failures integer,
  paused_until timestamptz,
  last_failed_at timestamptz,
  last_error text,
  pending bigint,
  dead bigint,
  lag interval
)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := credits.clock_now();
begin
  return query
  select e.endpoint_id, e.url, e.description, e.events, e.is_active, e.created_at, e.updated_at,
    case when e.previous_secret_until > v_now then e.previous_secret_until end,
    e.failures, e.paused_until, e.last_failed_at, e.last_error, p.pending, x.dead, greatest(v_now - p.oldest, interval '0')
  from credits.webhook_endpoints e
  cross join lateral (
    select count(*) as pending, min(d.pending_since) as oldest
    from credits.webhook_deliveries d
    where d.endpoint_id = e.endpoint_id and d.status = 'pending' and d.pending_since <= v_now
  ) p
  cross join lateral (
    select count(*) as dead from credits.webhook_deliveries d where d.endpoint_id = e.endpoint_id and d.status = 'dead'
  ) x
  order by e.created_at, e.endpoint_id;
end
$$;

comment on function credits.get_webhook_endpoints() is
  'The endpoints that events are sent to, without their secrets, and how each fares: failures in a row, paused_until, the last error, how many events it is still to be sent (pending; summaries '
  'that are not due aside) and since when the oldest of them waits (lag), how many are dead. Locks nothing.';

create or replace function credits.get_dead_webhooks(
  p_endpoint_id uuid default null,
  p_before timestamptz default null,
  p_before_id uuid default null,
  p_limit integer default 100
)
returns table (
  delivery_id uuid,
  endpoint_id uuid,
  user_id uuid,
  event_id uuid,
  type text,
  created_at timestamptz,
  data jsonb,
  attempts integer,
  last_error text,
  dead_since timestamptz
)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform credits.check_argument((p_before is null) = (p_before_id is null), 'p_before', 'goes together with p_before_id');
  perform credits.check_argument(p_limit between 1 and 1000, 'p_limit', 'must be 1 to 1000');
  return query
  select d.delivery_id, d.endpoint_id, d.user_id, d.event_id, d.type, d.created_at, d.data, d.attempts, d.last_error, d.finished_at
  from credits.webhook_deliveries d
  join credits.webhook_endpoints e on e.endpoint_id = d.endpoint_id
  where d.status = 'dead' and (p_endpoint_id is null or d.endpoint_id = p_endpoint_id)
    and (p_before is null or (d.created_at, d.delivery_id) < (p_before, p_before_id))
  order by d.created_at desc, d.delivery_id desc
  limit p_limit;
end
$$;

comment on function credits.get_dead_webhooks(uuid, timestamptz, uuid, integer) is
  'Events that could not be delivered, the newest first, of one endpoint or all; the next page is what was before the last one''s created_at and delivery_id. retry_dead_webhooks() sends them '
  'again. Locks nothing. Raises UC001 for malformed arguments.';

create or replace function credits.get_webhook_target(p_endpoint_id uuid)
returns table (
  url text,
  secrets text[]
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
  select e.url, case when e.previous_secret_until > v_now then array[e.secret, e.previous_secret] else array[e.secret] end
  from credits.webhook_endpoints e
  where e.endpoint_id = p_endpoint_id;
end
$$;

comment on function credits.get_webhook_target(uuid) is
  'Where an endpoint is, and the protected secrets that sign what is sent there, newest first; no row if there is none. Locks nothing.';

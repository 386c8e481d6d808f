create or replace function credits.delete_webhook_endpoint(p_endpoint_id uuid)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_deleted integer;
begin
  perform credits.check_argument(p_endpoint_id is not null, 'p_endpoint_id', 'must not be null');
  delete from credits.webhook_endpoints e where e.endpoint_id = p_endpoint_id;
  if not found then
    return credits.outcome('not_found', jsonb_build_object('endpoint_id', p_endpoint_id));
  end if;
  delete from credits.webhook_deliveries d where d.endpoint_id = p_endpoint_id and d.status = 'pending';
  get diagnostics v_deleted = row_count;
  return credits.outcome('ok', jsonb_build_object('endpoint_id', p_endpoint_id, 'undelivered', v_deleted));
end
$$;

comment on function credits.delete_webhook_endpoint(uuid) is
  'Removes an endpoint, and the events that it was not sent yet; undelivered says how many. Returns code ok or not_found. Locks the endpoint''s row, then those events. Raises UC001 for a '
  'null endpoint.';

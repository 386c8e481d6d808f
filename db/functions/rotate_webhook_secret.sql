create or replace function credits.rotate_webhook_secret(
  p_endpoint_id uuid,
  p_secret text,
  p_overlap interval default '24 hours',
  p_idempotency_key text default null
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := credits.clock_now();
  v_endpoint credits.webhook_endpoints;
  v_is_replayed boolean;
begin
  perform credits.check_argument(p_endpoint_id is not null, 'p_endpoint_id', 'must not be null');
  perform credits.check_argument(length(p_secret) between 1 and 4000, 'p_secret', 'must have 1 to 4000 characters');
  perform credits.check_argument(p_overlap >= interval '0' and p_overlap <= interval '30 days', 'p_overlap', 'must be 0 to 30 days');
  perform credits.check_argument(coalesce(length(p_idempotency_key) between 1 and 400, true), 'p_idempotency_key', 'must have 1 to 400 characters');
  update credits.webhook_endpoints e
  set previous_secret = e.secret, previous_secret_until = v_now + p_overlap, secret = p_secret, rotation_key = p_idempotency_key, updated_at = v_now
  where e.endpoint_id = p_endpoint_id and (p_idempotency_key is null or e.rotation_key is distinct from p_idempotency_key)
  returning e.* into v_endpoint;
  v_is_replayed := not found;
  if v_is_replayed then
    select e.* into v_endpoint from credits.webhook_endpoints e where e.endpoint_id = p_endpoint_id;
    if not found then
      return credits.outcome('not_found', jsonb_build_object('endpoint_id', p_endpoint_id));
    end if;
  end if;
  return credits.outcome('ok', jsonb_build_object('endpoint_id', p_endpoint_id, 'previous_secret_until', v_endpoint.previous_secret_until,
    'secret', v_endpoint.secret, 'replayed', v_is_replayed));
end
$$;

comment on function credits.rotate_webhook_secret(uuid, text, interval, text) is
  'Gives an endpoint a new secret (protected by the host). For p_overlap the previous one signs as well, so that the receiver can change over. The idempotency key of the last rotation rotates nothing again (replayed). Returns code ok or not_found, '
  'endpoint_id, previous_secret_until, the protected secret, replayed. Locks the endpoint''s row. Raises UC001 for malformed arguments.';

create or replace function credits.rotate_webhook_secret(
  p_endpoint_id uuid,
  p_secret text,
  p_overlap interval default '24 hours'
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_until timestamptz;
begin
  perform credits.check_argument(p_endpoint_id is not null, 'p_endpoint_id', 'must not be null');
  perform credits.check_argument(length(p_secret) between 1 and 4000, 'p_secret', 'must have 1 to 4000 characters');
  perform credits.check_argument(p_overlap >= interval '0' and p_overlap <= interval '30 days', 'p_overlap', 'must be 0 to 30 days');
  v_until := credits.clock_now() + p_overlap;
  update credits.webhook_endpoints e
  set previous_secret = e.secret, previous_secret_until = v_until, secret = p_secret, updated_at = v_until - p_overlap
  where e.endpoint_id = p_endpoint_id;
  if not found then
    return credits.outcome('not_found', jsonb_build_object('endpoint_id', p_endpoint_id));
  end if;
  return credits.outcome('ok', jsonb_build_object('endpoint_id', p_endpoint_id, 'previous_secret_until', v_until));
end
$$;

comment on function credits.rotate_webhook_secret(uuid, text, interval) is
  'Gives an endpoint a new secret (protected by the host). For p_overlap the previous one signs as well, so that the receiver can change over. Returns code ok or not_found, endpoint_id, '
  'previous_secret_until. Locks the endpoint''s row. Raises UC001 for malformed arguments.';

create or replace function credits.set_webhook_endpoint(
  p_endpoint_id uuid,
  p_url text default null,
  p_secret text default null,
  p_events text[] default null,
  p_description text default null,
  p_is_active boolean default null,
  p_is_new boolean default false
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  c_events constant text[] := '{*,purchase.*,purchase.completed,purchase.failed,purchase.refunded,purchase.disputed,purchase.reinstated,'
    'notification.*,notification.deduction_failed,notification.low_balance,notification.exhausted,notification.reset,notification.expiring_soon,'
    'notification.top_up_failed}';
  -- Each writes a row of its own for what an operation tells.
  c_endpoints constant integer := 20;
  v_now timestamptz := credits.clock_now();
  v_request_hash text := encode(sha256(convert_to(jsonb_build_array(p_url, p_events, p_description, p_is_active)::text, 'UTF8')), 'hex');
  v_is_replayed boolean := false;
  v_endpoint credits.webhook_endpoints;
begin
  perform credits.check_argument(p_endpoint_id is not null, 'p_endpoint_id', 'must not be null');
  perform credits.check_argument(coalesce(length(p_url) <= 2000
      and (p_url ~ '^https://([A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?([/?][!-"$-~]*)?$'
        or p_url ~ '^http://(localhost|127(\.[0-9]{1,3}){3}|\[::1\])(:[0-9]{1,5})?([/?][!-"$-~]*)?$'), p_url is null),
    'p_url', 'must be an https:// address without user and fragment, or http:// on localhost, of at most 2000 characters');
  perform credits.check_argument(coalesce(length(p_secret) between 1 and 4000, true), 'p_secret', 'must have 1 to 4000 characters');
  perform credits.check_argument(coalesce(cardinality(p_events) between 1 and 50 and p_events <@ c_events, p_events is null),
    'p_events', format('must be some of %s', array_to_string(c_events, ', ')));
  perform credits.check_argument(coalesce(length(p_description) <= 200, true), 'p_description', 'must have at most 200 characters');
  perform credits.check_argument(coalesce(not p_is_new or num_nulls(p_url, p_secret) = 0, false), 'p_is_new', 'needs an address and a secret');

  if p_url is not null and p_secret is not null then
    perform credits.check_argument((select count(*) from credits.webhook_endpoints e where e.endpoint_id <> p_endpoint_id) < c_endpoints,
      'p_endpoint_id', format('there are %s endpoints already', c_endpoints));
    insert into credits.webhook_endpoints (endpoint_id, url, request_hash, secret, created_at, updated_at)
    values (p_endpoint_id, p_url, v_request_hash, p_secret, v_now, v_now)
    on conflict (endpoint_id) do nothing;
    v_is_replayed := p_is_new and not found;
  end if;
  if v_is_replayed then
    select e.* into v_endpoint from credits.webhook_endpoints e where e.endpoint_id = p_endpoint_id;
    if v_endpoint.request_hash <> v_request_hash then
      perform credits.fail('UC201', 'the idempotency key was used for another request', jsonb_build_object('code', 'key_reused', 'endpoint_id', p_endpoint_id));
    end if;
  else
    -- Whoever changes it has put right what was wrong: a paused one is tried at once.
    update credits.webhook_endpoints e
    set url = coalesce(p_url, e.url),
      secret = coalesce(p_secret, e.secret),
      events = coalesce(p_events, e.events),
      description = coalesce(p_description, e.description),
      is_active = coalesce(p_is_active, e.is_active),
      updated_at = v_now,
      failures = 0,
      paused_until = null,
      probe_id = null
    where e.endpoint_id = p_endpoint_id
    returning e.* into v_endpoint;
  end if;
  if v_endpoint.endpoint_id is null then
    return credits.outcome('not_found', jsonb_build_object('endpoint_id', p_endpoint_id));
  end if;
  return credits.outcome('ok', jsonb_build_object('endpoint_id', v_endpoint.endpoint_id, 'url', v_endpoint.url, 'description', v_endpoint.description,
    'events', v_endpoint.events, 'is_active', v_endpoint.is_active, 'created_at', v_endpoint.created_at, 'replayed', v_is_replayed)
    || case when p_is_new and v_endpoint.previous_secret is null then jsonb_build_object('secret', v_endpoint.secret) else '{}' end);
end
$$;

comment on function credits.set_webhook_endpoint(uuid, text, text, text[], text, boolean, boolean) is
  'Adds an endpoint that events are sent to (20 at most) or changes one; what is null stays (a new one needs an address and a secret, which the host makes and protects). p_events are exact types, '
  'purchase.*, notification.* or * (all). p_is_new only adds it: one that was added so before, as the same, is left as it is now (replayed). Events are written for it from the commit on; an inactive one gets no new events, and those that it has wait. Ends a pause after failures. Returns '
  'code ok or not_found (a new one without address or secret), the endpoint, replayed, and of a new one the protected secret, unless it was rotated since. Locks its row. Raises UC001 for '
  'malformed arguments, UC201 if it was added by another request.';

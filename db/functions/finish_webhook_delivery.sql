create or replace function credits.finish_webhook_delivery(
  p_user_id uuid,
  p_delivery_id uuid,
  p_lease_id uuid,
  p_is_delivered boolean,
  p_error text default null,
  p_retry_after interval default null
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  -- How long after each failed attempt the next one is made: 12 attempts in 24 hours.
  c_waits constant interval[] := '{5 seconds,30 seconds,2 minutes,5 minutes,15 minutes,30 minutes,1 hour,2 hours,4 hours,6 hours,10 hours}';
  -- An endpoint that failed so often in a row is paused, half a minute at first and ten minutes at most.
  c_failures constant integer := 5;
  v_now timestamptz := credits.clock_now();
  v_delivery credits.webhook_deliveries;
  v_wait interval;
begin
  perform credits.check_argument(p_user_id is not null, 'p_user_id', 'must not be null');
  perform credits.check_argument(p_delivery_id is not null, 'p_delivery_id', 'must not be null');
  perform credits.check_argument(p_lease_id is not null, 'p_lease_id', 'must not be null');
  perform credits.check_argument(p_is_delivered is not null, 'p_is_delivered', 'must not be null');
  perform credits.check_argument(coalesce(p_retry_after >= interval '0', true), 'p_retry_after', 'must not be negative');
  select d.* into v_delivery
  from credits.webhook_deliveries d
  where d.user_id = p_user_id and d.delivery_id = p_delivery_id and d.lease_id = p_lease_id;
  if not found then
    return credits.outcome('not_found', jsonb_build_object('delivery_id', p_delivery_id));
  end if;

  -- The endpoint before the delivery, as everybody locks them.
  if p_is_delivered then
    update credits.webhook_endpoints e
    set failures = 0, paused_until = null, probe_id = null
    where e.endpoint_id = v_delivery.endpoint_id and e.failures > 0;
  else
    -- Of a paused endpoint only the probe tells something new; the others were on their way when it was paused.
    update credits.webhook_endpoints e
    set failures = e.failures + 1,
      paused_until = case when e.failures + 1 >= c_failures
        then v_now + least(interval '30 seconds' * 2 ^ least(e.failures + 1 - c_failures, 10), interval '10 minutes') end,
      probe_id = null,
      last_failed_at = v_now,
      last_error = left(p_error, 500)
    where e.endpoint_id = v_delivery.endpoint_id and (e.paused_until is null or e.probe_id = p_lease_id);
  end if;

  if p_is_delivered then
    v_delivery.status := 'delivered';
  elsif v_delivery.attempts > cardinality(c_waits) then
    v_delivery.status := 'dead';
  else
    -- Up to a fifth longer, so that what failed together does not come back together.
    v_wait := c_waits[v_delivery.attempts] * (1 + random() / 5);
    v_delivery.next_attempt_at := v_now + greatest(v_wait, case when p_retry_after is not null then least(p_retry_after, interval '1 hour') end);
  end if;
  update credits.webhook_deliveries d
  set status = v_delivery.status,
    lease_id = null,
    next_attempt_at = v_delivery.next_attempt_at,
    last_error = case when not p_is_delivered then left(p_error, 500) end,
    finished_at = case when v_delivery.status <> 'pending' then v_now end
  where d.user_id = p_user_id and d.delivery_id = p_delivery_id and d.lease_id = p_lease_id;
  if not found then
    return credits.outcome('not_found', jsonb_build_object('delivery_id', p_delivery_id));
  end if;
  if v_delivery.status = 'pending' then
    perform credits.postpone_webhooks(v_delivery, v_delivery.next_attempt_at);
  end if;
  return credits.outcome('ok', jsonb_build_object('delivery_id', p_delivery_id, 'status', v_delivery.status, 'attempts', v_delivery.attempts,
    'next_attempt_at', case when v_delivery.status = 'pending' then v_delivery.next_attempt_at end));
end
$$;

comment on function credits.finish_webhook_delivery(uuid, uuid, uuid, boolean, text, interval) is
  'Reports how a claimed delivery went. Delivered: the account''s next event is due. Failed: the next attempt comes after a wait (5 seconds at first, 10 hours at last, or p_retry_after if that is '
  'longer, up to an hour) and the account''s later events wait for it; the twelfth failure, after about 24 hours, makes it dead, and the later ones go on. Five failures in a row, of any '
  'accounts, pause the endpoint. Returns code ok, status (delivered, pending or dead), attempts, next_attempt_at; or not_found if the lease is not the delivery''s any more, and then changes '
  'nothing. Locks the endpoint''s row if the delivery failed or the one before had, then the account''s deliveries to it. Raises UC001 for malformed arguments.';

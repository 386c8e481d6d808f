create or replace function credits.claim_webhook_deliveries(
  p_limit integer default 16,
  p_lease interval default '1 minute',
  p_endpoint_limit integer default 8
)
returns table (
  user_id uuid,
  delivery_id uuid,
  lease_id uuid,
  endpoint_id uuid,
  url text,
  secrets text[],
  event_id uuid,
  type text,
  created_at timestamptz,
  data jsonb,
  attempt integer
)
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := credits.clock_now();
  v_left integer := p_limit;
  v_sending integer;
  v_room integer;
  v_claimed integer;
  v_endpoint_id uuid;
  v_endpoint credits.webhook_endpoints;
  v_user_id uuid;
  v_head credits.webhook_deliveries;
begin
  perform credits.check_argument(p_limit between 1 and 1000, 'p_limit', 'must be 1 to 1000');
  perform credits.check_argument(p_lease >= interval '1 second' and p_lease <= interval '1 hour', 'p_lease', 'must be 1 second to 1 hour');
  perform credits.check_argument(p_endpoint_limit between 1 and 1000, 'p_endpoint_limit', 'must be 1 to 1000');

  -- Those that waited longest for their turn first, so that a busy endpoint holds up no other.
  for v_endpoint_id in
    select e.endpoint_id
    from credits.webhook_endpoints e
    where e.is_active and (e.paused_until is null or e.paused_until <= v_now)
    order by e.claimed_at nulls first, e.endpoint_id
  loop
    exit when v_left = 0;
    -- Claims of one endpoint come one after the other, and everything below is read after the one before was committed: so no two hosts send events of
    -- one account at once, whichever event each of them found first.
    select e.* into v_endpoint
    from credits.webhook_endpoints e
    where e.endpoint_id = v_endpoint_id and e.is_active and (e.paused_until is null or e.paused_until <= v_now)
    for no key update skip locked;
    continue when not found;

    select count(*) into v_sending
    from credits.webhook_deliveries d
    where d.endpoint_id = v_endpoint_id and d.lease_id is not null and d.next_attempt_at > v_now;
    v_room := least(case when v_endpoint.paused_until is null then p_endpoint_limit else 1 end - v_sending, v_left);
    v_claimed := 0;

    for v_user_id in
      select u.user_id
      from (
        select d.user_id, d.next_attempt_at
        from credits.webhook_deliveries d
        where d.endpoint_id = v_endpoint_id and d.status = 'pending' and d.next_attempt_at <= v_now
          and not exists (
            select from credits.webhook_deliveries o
            where o.endpoint_id = v_endpoint_id and o.user_id = d.user_id and o.lease_id is not null and o.next_attempt_at > v_now)
        order by d.next_attempt_at
        limit 10 * greatest(v_room, 0)
      ) u
      group by u.user_id
      order by min(u.next_attempt_at)
    loop
      exit when v_claimed >= v_room;
      select d.* into v_head
      from credits.webhook_deliveries d
      where d.user_id = v_user_id and d.endpoint_id = v_endpoint_id and d.status = 'pending'
      order by d.created_at, d.moment_no, d.delivery_id
      limit 1;
      if v_head.next_attempt_at > v_now then
        -- It waits for its next attempt, and all behind it with it.
        perform credits.postpone_webhooks(v_head, v_head.next_attempt_at);
        continue;
      end if;
      -- Not there for us if its user is being erased, or a host reports it late.
      select d.* into v_head
      from credits.webhook_deliveries d
      where d.user_id = v_user_id and d.delivery_id = v_head.delivery_id and d.status = 'pending' and d.next_attempt_at <= v_now
      for update skip locked;
      continue when not found;

      if v_head.data is null then
        select credits.notification_data(n) into v_head.data
        from credits.notifications n
        where n.user_id = v_user_id and n.notification_id = v_head.notification_id;
        if not found then
          delete from credits.webhook_deliveries d where d.user_id = v_user_id and d.delivery_id = v_head.delivery_id;
          continue;
        end if;
      end if;
      v_head.lease_id := gen_random_uuid();
      v_head.attempts := v_head.attempts + 1;
      v_head.next_attempt_at := v_now + p_lease;
      update credits.webhook_deliveries d
      set lease_id = v_head.lease_id, attempts = v_head.attempts, next_attempt_at = v_head.next_attempt_at, data = v_head.data
      where d.user_id = v_user_id and d.delivery_id = v_head.delivery_id;
      v_claimed := v_claimed + 1;
      return query select v_head.user_id, v_head.delivery_id, v_head.lease_id, v_endpoint_id, v_endpoint.url,
        case when v_endpoint.previous_secret_until > v_now then array[v_endpoint.secret, v_endpoint.previous_secret] else array[v_endpoint.secret] end,
        v_head.event_id, v_head.type, v_head.created_at, v_head.data, v_head.attempts;
    end loop;

    if v_claimed > 0 then
      update credits.webhook_endpoints e
      set claimed_at = v_now,
        paused_until = case when e.paused_until is not null then v_head.next_attempt_at end,
        probe_id = case when e.paused_until is not null then v_head.lease_id end
      where e.endpoint_id = v_endpoint_id;
    end if;
    v_left := v_left - v_claimed;
  end loop;
end
$$;

comment on function credits.claim_webhook_deliveries(integer, interval, integer) is
  'Claims up to p_limit deliveries that are due, for p_lease, and counts the attempt; p_endpoint_limit of one endpoint are under way at a time. Of an account only its first undelivered event '
  'per endpoint, and none while another is being sent, so that any number of hosts keep the order. The caller sends them, outside a transaction, and reports each by finish_webhook_delivery() '
  'before the lease ends; after that somebody else may claim it. secrets: what to sign with, newest first. A paused endpoint is given one delivery to try. Locks the endpoints'' rows, passing '
  'over those that somebody else is claiming for. Raises UC001 for malformed arguments.';

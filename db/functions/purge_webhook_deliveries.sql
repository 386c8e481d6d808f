create or replace function credits.purge_webhook_deliveries(
  p_keep interval default '7 days',
  p_keep_dead interval default '30 days',
  p_limit integer default 1000
)
returns integer
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  -- What an endpoint that is away or switched off could not be sent for so long is dead too.
  c_patience constant interval := '3 days';
  v_now timestamptz := credits.clock_now();
  v_buried integer;
  v_deleted integer;
begin
  perform credits.check_argument(p_keep >= interval '0', 'p_keep', 'must not be negative');
  perform credits.check_argument(p_keep_dead >= interval '0', 'p_keep_dead', 'must not be negative');
  perform credits.check_argument(p_limit between 1 and 100000, 'p_limit', 'must be 1 to 100000');
  update credits.webhook_deliveries d
  set status = 'dead', finished_at = v_now, lease_id = null, last_error = coalesce(d.last_error, 'not sent')
  where (d.user_id, d.delivery_id) in (
    select o.user_id, o.delivery_id
    from credits.webhook_deliveries o
    where o.status = 'pending' and o.pending_since < v_now - c_patience and (o.lease_id is null or o.next_attempt_at <= v_now)
    limit p_limit
    for update skip locked);
  get diagnostics v_buried = row_count;
  delete from credits.webhook_deliveries d
  where (d.user_id, d.delivery_id) in (
    select o.user_id, o.delivery_id
    from credits.webhook_deliveries o
    where (o.status = 'delivered' and o.finished_at < v_now - p_keep) or (o.status = 'dead' and o.finished_at < v_now - p_keep_dead)
    limit p_limit
    for update skip locked);
  get diagnostics v_deleted = row_count;
  return v_buried + v_deleted;
end
$$;

comment on function credits.purge_webhook_deliveries(interval, interval, integer) is
  'Tidies deliveries, up to p_limit of each: those that could not be delivered in 3 days become dead, delivered ones go after p_keep, dead ones after p_keep_dead. Returns how many: 0 when there is '
  'nothing left. Locks them, passing over those that others hold. Raises UC001 for malformed arguments.';

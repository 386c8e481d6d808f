create or replace function credits.list_payment_events(
  p_is_waiting boolean default true,
  p_limit integer default 50,
  p_after_at timestamptz default null,
  p_after_id uuid default null
)
returns table (
  payment_event_id uuid,
  provider text,
  event_id text,
  kind text,
  status text,
  reason text,
  user_id uuid,
  purchase_id uuid,
  provider_reference text,
  amount_minor bigint,
  currency text,
  refund_reference text,
  received_at timestamptz,
  processed_at timestamptz,
  payload jsonb
)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform credits.check_argument(p_is_waiting is not null, 'p_is_waiting', 'must not be null');
  perform credits.check_argument(p_limit between 1 and 1000, 'p_limit', 'must be 1 to 1000');
  perform credits.check_argument((p_after_at is null) = (p_after_id is null), 'p_after_id', 'must be given with p_after_at, and only then');
  return query
    select e.payment_event_id, e.provider, e.event_id, e.kind, e.status, e.reason, e.payer_id, e.purchase_id, e.provider_reference, e.amount_minor,
      e.currency, e.refund_reference, e.received_at, e.processed_at, e.payload
    from credits.payment_events e
    where (e.status = 'waiting' or not p_is_waiting)
      and (p_after_id is null or (e.received_at, e.payment_event_id) < (p_after_at, p_after_id))
    order by e.received_at desc, e.payment_event_id desc
    limit p_limit;
end
$$;

comment on function credits.list_payment_events(boolean, integer, timestamptz, uuid) is
  'What payment providers reported, the newest first: what waits for an operator or for a further event, or (p_is_waiting false) everything. At most p_limit (1 to 1000); '
  'received_at and payment_event_id of the last row, given as p_after_at and p_after_id, lead to the next page. Locks nothing. Raises UC001 for malformed arguments.';

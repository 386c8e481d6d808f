create or replace function credits.erase_payment_events(
  p_user_id uuid,
  p_has_wallets boolean
)
returns void
language plpgsql
volatile
as $$
declare
  v_ids uuid[];
begin
  if p_has_wallets then
    -- An event that waits and is locked is just being applied: that waits for a wallet, and comes after the erasure. Any other lock ends by itself.
    v_ids := array(
      select e.payment_event_id
      from credits.payment_events e
      where e.payment_event_id in (select credits.payment_events_of(p_user_id)) and e.status = 'waiting'
      for no key update skip locked);
  else
    -- As everybody: the payments, the events, and then the wallets. Whoever holds a payment may be at several of its events, in any order.
    perform
    from credits.payments p
    where (p.provider, p.provider_reference) in (
      select e.provider, e.provider_reference
      from credits.payment_events e
      where e.payment_event_id in (select credits.payment_events_of(p_user_id)))
    order by p.provider, p.provider_reference
    for no key update;
  end if;
  v_ids := v_ids || array(
    select e.payment_event_id
    from credits.payment_events e
    where e.payment_event_id in (select credits.payment_events_of(p_user_id)) and (e.status <> 'waiting' or not p_has_wallets)
    order by e.payment_event_id
    for no key update);
  update credits.payment_events e
  set payload = '{}', failure_reason = null, customer_reference = null, payment_method = null
  where e.payment_event_id = any (v_ids) and (e.payload <> '{}' or num_nonnulls(e.failure_reason, e.customer_reference, e.payment_method) > 0);
end
$$;

comment on function credits.erase_payment_events(uuid, boolean) is
  'Internal. Part of erase_user_data: what payment providers reported of a user, once before the user''s wallets are locked and, for what came meanwhile, once after. '
  'Locks the payments (before the wallets only) and the events.';

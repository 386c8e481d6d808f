create or replace function credits.erase_payment_events(
  p_user_id uuid,
  p_has_wallets boolean
)
returns void
language plpgsql
volatile
as $$
declare
  v_providers text[];
  v_references text[];
  v_ids uuid[];
begin
  if p_has_wallets then
    -- Who holds one of these may be waiting for the wallets, so nobody is waited for.
    v_ids := array(
      select e.payment_event_id
      from credits.payment_events e
      where e.payment_event_id in (select credits.payment_events_of(p_user_id))
      for no key update skip locked);
  else
    -- As everybody: the payments, the events, and then the wallets. Whoever holds a payment may be at several of its events, in any order, so
    -- those of a payment that comes to light while this waits are left for later.
    select array_agg(l.provider), array_agg(l.provider_reference) into v_providers, v_references
    from (
      select p.provider, p.provider_reference
      from credits.payments p
      where (p.provider, p.provider_reference) in (
        select e.provider, e.provider_reference
        from credits.payment_events e
        where e.payment_event_id in (select credits.payment_events_of(p_user_id)))
      order by p.provider, p.provider_reference
      for no key update
    ) l;
    v_ids := array(
      select e.payment_event_id
      from credits.payment_events e
      where e.payment_event_id in (select credits.payment_events_of(p_user_id))
        and (e.provider_reference is null
          or (e.provider, e.provider_reference) in (select * from unnest(v_providers, v_references)))
      order by e.payment_event_id
      for no key update);
  end if;
  update credits.payment_events e
  set payload = '{}', failure_reason = null, customer_reference = null, payment_method = null
  where e.payment_event_id = any (v_ids) and (e.payload <> '{}' or num_nonnulls(e.failure_reason, e.customer_reference, e.payment_method) > 0);

  if p_has_wallets and exists (
    select
    from credits.payment_events e
    where e.payment_event_id in (select credits.payment_events_of(p_user_id))
      and (e.payload <> '{}' or num_nonnulls(e.failure_reason, e.customer_reference, e.payment_method) > 0))
  then
    raise exception 'somebody is at a payment of the user just now'
      using errcode = 'serialization_failure', hint = 'Erase again: that waits for the payment.';
  end if;
end
$$;

comment on function credits.erase_payment_events(uuid, boolean) is
  'Internal. Part of erase_user_data: what payment providers reported of a user, once before the user''s wallets are locked and, for what came meanwhile, once after. '
  'Locks the payments and their events before the wallets; after them, the events that nobody else has locked; raises 40001 if others are left.';

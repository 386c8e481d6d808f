create or replace function credits.payment_events_of(p_user_id uuid)
returns setof uuid
language plpgsql
stable
as $$
begin
  return query
  select e.payment_event_id from credits.payment_events e where e.payer_id = p_user_id
  union
  -- What a provider reports of a payment may name nobody, or somebody else.
  select e.payment_event_id
  from (
    select p.provider, p.provider_reference from credits.payments p where p.payer_id = p_user_id
    union
    select c.provider, c.provider_reference from credits.credit_purchases c where c.user_id = p_user_id
  ) m
  join credits.payment_events e on e.provider = m.provider and e.provider_reference = m.provider_reference
  union
  select e.payment_event_id
  from credits.payment_events e
  join credits.credit_purchases c on c.user_id = p_user_id and c.purchase_id = e.purchase_id
  where e.payer_id is null;
end
$$;

comment on function credits.payment_events_of(uuid) is
  'Internal. The payment events that are about a user: that name the user, one of the user''s payments, or, without a user, one of the user''s purchases.';

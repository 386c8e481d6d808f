create or replace function credits.lock_payment(
  p_provider text,
  p_provider_reference text
)
returns void
language plpgsql
volatile
as $$
begin
  if p_provider_reference is not null then
    insert into credits.payments (provider, provider_reference, events)
    values (p_provider, p_provider_reference, 1)
    on conflict (provider, provider_reference) do update set events = payments.events + 1;
    -- In the order of erase_user_data(), which locks events before wallets too.
    perform
    from credits.payment_events e
    where e.provider = p_provider and e.provider_reference = p_provider_reference and e.status = 'waiting'
    order by e.payment_event_id
    for no key update;
  end if;
end
$$;

comment on function credits.lock_payment(text, text) is
  'Internal. Locks a payment, known or not, and then what waits for it, all before any wallet. An update, as a mere lock would leave a REPEATABLE READ caller unaware.';

create table credits.payments (
  provider text not null,
  provider_reference text not null,
  payer_id uuid,
  purchase_id uuid,
  events bigint not null default 0,
  constraint payments_pkey primary key (provider, provider_reference),
  constraint payments_is_claimed_whole check ((payer_id is null) = (purchase_id is null))
);

comment on table credits.payments is
  'Which purchase a payment pays for: one, of one user, whoever asks. Locked first by everything that is reported of the payment, and counted up each time, so '
  'that nobody overlooks what somebody else keeps for later. One table for all users, so its keys begin with none.';
comment on column credits.payments.payer_id is 'The user whose purchase it completed; null until it has completed one.';

-- For verify_ledger(), which works user by user.
create index payments_payer on credits.payments (payer_id) where payer_id is not null;

create table credits.payment_events (
  payment_event_id uuid not null,
  provider text not null,
  event_id text not null,
  kind text not null,
  payer_id uuid,
  purchase_id uuid,
  provider_reference text,
  amount_minor bigint,
  currency text,
  refund_reference text,
  failure_reason text,
  customer_reference text,
  payment_method text,
  payload jsonb not null,
  status text not null,
  reason text,
  received_at timestamptz not null,
  processed_at timestamptz,
  constraint payment_events_pkey primary key (payment_event_id),
  constraint payment_events_event_key unique (provider, event_id),
  constraint payment_events_kind_known check (kind in ('completed', 'processing', 'failed', 'expired', 'refunded', 'refund_failed', 'disputed',
    'dispute_won', 'dispute_lost')),
  constraint payment_events_status_known check (status in ('waiting', 'applied', 'superseded', 'dismissed')),
  constraint payment_events_waiting_is_not_processed check ((status = 'waiting') = (processed_at is null))
);

comment on table credits.payment_events is
  'What payment providers reported, each event once: applied, or kept with the reason why it could not be. One table for all users, as an event may name none, or the wrong one.';
comment on column credits.payment_events.payer_id is 'The user whom the event names, or whose the payment is known to be.';
comment on column credits.payment_events.provider_reference is 'The payment. For Stripe the payment intent.';
comment on column credits.payment_events.amount_minor is 'Minor units: what was paid or disputed; of a refund, all that was refunded of the payment so far.';
comment on column credits.payment_events.refund_reference is 'The provider''s id of the dispute.';
comment on column credits.payment_events.payload is 'The event as the provider sent it, if no longer than 64 KB. Emptied by erase_user_data().';
comment on column credits.payment_events.status is
  'waiting (see reason), applied, superseded (there was nothing left to do) or dismissed (by an operator).';
comment on column credits.payment_events.reason is
  'Why it waits: unknown_purchase, unknown_payment (nothing completed by it yet), unknown_dispute, disputed (a dispute holds what it would take), payment_differs (from '
  'the price), payment_used (for another purchase), paid_otherwise (the purchase, by another payment), not_applied (what it takes back was never granted), balance_limit '
  'or by_hand; of one that waits no more: why it is superseded or dismissed.';

create index payment_events_payment on credits.payment_events (provider, provider_reference);
create index payment_events_payer on credits.payment_events (payer_id);
create index payment_events_received on credits.payment_events (received_at, payment_event_id);
create index payment_events_waiting on credits.payment_events (received_at, payment_event_id) where status = 'waiting';

create table credits.payment_methods (
  user_id uuid not null,
  provider text not null,
  customer_reference text not null,
  payment_method text not null,
  saved_at timestamptz not null,
  constraint payment_methods_pkey primary key (user_id, provider),
  constraint payment_methods_account_fkey foreign key (user_id) references credits.accounts (user_id)
);

comment on table credits.payment_methods is
  'What the provider calls the user and the means of payment that the user allowed to be charged again. No card is known here. Written under the lock of the wallet of credits.';

create table credits.top_ups (
  user_id uuid not null,
  is_on boolean not null,
  threshold numeric(20,6) not null,
  package_id text not null,
  monthly_cap_minor bigint not null,
  currency text not null,
  purchase_id uuid,
  leased_until timestamptz,
  attempts integer not null default 0,
  failed_at timestamptz,
  failure_reason text,
  constraint top_ups_pkey primary key (user_id),
  constraint top_ups_account_fkey foreign key (user_id) references credits.accounts (user_id),
  constraint top_ups_package_fkey foreign key (package_id) references credits.credit_packages (package_id),
  constraint top_ups_threshold_not_negative check (threshold >= 0),
  constraint top_ups_cap_in_range check (monthly_cap_minor > 0),
  constraint top_ups_purchase_is_leased check ((purchase_id is null) = (leased_until is null)),
  constraint top_ups_failure_has_a_reason check ((failed_at is null) = (failure_reason is null))
);

comment on table credits.top_ups is
  'Automatic top-up: buys the package when no more than threshold credits are left. Written under the lock of the wallet of credits.';
comment on column credits.top_ups.monthly_cap_minor is
  'How much may be charged in a calendar month of the account''s time zone, in minor units of the currency.';
comment on column credits.top_ups.currency is 'That of the package when the cap was set. A package of another currency is not bought before the cap is set again.';
comment on column credits.top_ups.purchase_id is 'The purchase under way: there is never a second one.';
comment on column credits.top_ups.leased_until is
  'Until then the host that began it is at work; afterwards another one asks the provider again. infinity where the provider will report.';
comment on column credits.top_ups.failed_at is 'Since when nothing more is tried: until the user sets the top-up again, or buys something.';

create index top_ups_on on credits.top_ups (user_id) where is_on;

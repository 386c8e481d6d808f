create table credits.credit_packages (
  package_id text not null,
  package_name text not null,
  credits numeric(20,6) not null,
  price_minor bigint not null,
  currency text not null,
  features jsonb not null default '[]',
  is_active boolean not null default true,
  sort_order integer not null default 0,
  constraint credit_packages_pkey primary key (package_id),
  constraint credit_packages_package_id_is_a_name check (package_id ~ '^[a-z][a-z0-9_.-]{0,62}$'),
  constraint credit_packages_package_name_not_empty check (length(package_name) between 1 and 200),
  constraint credit_packages_credits_in_range check (credits > 0 and credits <= 1000000000),
  constraint credit_packages_price_in_range check (price_minor between 1 and 1000000000000),
  constraint credit_packages_currency_is_a_code check (currency ~ '^[A-Z]{3}$'),
  constraint credit_packages_features_are_texts check (
    jsonb_typeof(features) = 'array' and not jsonb_path_exists(features, 'strict $[*] ? (@.type() != "string")', '{}', true))
);

comment on table credits.credit_packages is
  'What can be bought: credits for a price in minor units (cents) of an ISO 4217 currency. Editable data: a purchase keeps the terms that it was begun on.';

create table credits.credit_purchases (
  user_id uuid not null,
  purchase_id uuid not null,
  package_id text not null,
  credits numeric(20,6) not null,
  price_minor bigint not null,
  currency text not null,
  features jsonb not null,
  provider text not null,
  provider_reference text,
  status text not null default 'pending',
  refunded_minor bigint not null default 0,
  refunded_credits numeric(20,6) not null default 0,
  grant_no bigint,
  created_at timestamptz not null,
  completed_at timestamptz,
  failure_reason text,
  metadata jsonb not null default '{}',
  is_top_up boolean not null default false,
  is_declined boolean not null default false,
  checkout_reference text,
  checkout_url text,
  constraint credit_purchases_pkey primary key (user_id, purchase_id),
  constraint credit_purchases_payment_key unique (user_id, provider, provider_reference),
  constraint credit_purchases_grant_key unique (user_id, grant_no),
  constraint credit_purchases_account_fkey foreign key (user_id) references credits.accounts (user_id),
  constraint credit_purchases_package_fkey foreign key (package_id) references credits.credit_packages (package_id),
  constraint credit_purchases_status_known check (status in ('pending', 'paid', 'failed', 'refunded')),
  constraint credit_purchases_terms_in_range check (credits > 0 and price_minor > 0 and currency ~ '^[A-Z]{3}$'),
  constraint credit_purchases_refunded_in_range check (
    refunded_minor between 0 and price_minor and refunded_credits >= 0 and refunded_credits <= credits),
  constraint credit_purchases_refunded_is_all check ((status = 'refunded') = (refunded_minor = price_minor)),
  constraint credit_purchases_paid_has_a_grant check (
    (status in ('paid', 'refunded')) = (grant_no is not null) and (grant_no is null) = (completed_at is null))
);

comment on table credits.credit_purchases is
  'Purchases of packages, with the terms they were begun on. Partly refunded ones are still paid. Read and written under the lock of the wallet of credits.';
comment on column credits.credit_purchases.provider_reference is 'What the payment provider calls the payment; null until it is known. Pays for one purchase only (credits.payments).';
comment on column credits.credit_purchases.status is
  'pending, paid (also where a part was refunded), failed (can still be completed) or refunded (all of the price).';
comment on column credits.credit_purchases.refunded_minor is 'How much of the price went back, by refunds and by disputes that were not won.';
comment on column credits.credit_purchases.is_top_up is 'Begun by begin_top_ups(), not by the user.';
comment on column credits.credit_purchases.is_declined is
  'The provider itself reported that the payment failed; false where it was only given up, so that money may still arrive.';
comment on column credits.credit_purchases.checkout_reference is 'What the provider calls the page on which the user pays; checkout_url is its address.';
comment on column credits.credit_purchases.refunded_credits is 'The credits taken back for that: revoked from what was left of the grant, and the rest as debt.';

create table credits.credit_purchase_refunds (
  user_id uuid not null,
  purchase_id uuid not null,
  refund_no integer not null,
  provider text not null,
  provider_reference text,
  is_dispute boolean not null,
  amount_minor bigint not null,
  credits numeric(20,6) not null,
  allocations jsonb not null,
  log_id bigint not null,
  reason text,
  created_at timestamptz not null,
  reinstated_at timestamptz,
  reinstated_log_id bigint,
  reinstated_grant_no bigint,
  constraint credit_purchase_refunds_pkey primary key (user_id, purchase_id, refund_no),
  constraint credit_purchase_refunds_reference_key unique (user_id, provider, provider_reference),
  constraint credit_purchase_refunds_purchase_fkey foreign key (user_id, purchase_id)
    references credits.credit_purchases (user_id, purchase_id),
  constraint credit_purchase_refunds_amount_in_range check (amount_minor > 0 and credits >= 0)
);

comment on table credits.credit_purchase_refunds is
  'Every refund and dispute of a purchase, and what it took. Written under the lock of the wallet of credits.';
comment on column credits.credit_purchase_refunds.provider_reference is 'The provider''s id of the refund or dispute itself, by which a repeat is known.';
comment on column credits.credit_purchase_refunds.allocations is 'The grants that it took from, and purchase_debt (grant null) for what was left of none.';
comment on column credits.credit_purchase_refunds.reinstated_at is 'When the dispute was won, or the refund turned out to have failed: since then it takes nothing.';
comment on column credits.credit_purchase_refunds.log_id is 'The wallet''s newest entry after it.';
comment on column credits.credit_purchase_refunds.reinstated_grant_no is
  'The grant that gave back what later purchases had paid of its debt: from then on a part of the purchase, for whatever refund comes next.';

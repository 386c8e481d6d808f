create table credits.stored_grants (
  user_id uuid not null,
  credit_type text not null,
  grant_no bigint not null,
  source text not null,
  amount numeric(20,6) not null,
  remaining numeric(20,6) not null,
  priority integer not null,
  expires_at timestamptz not null default 'infinity',
  period_no integer,
  created_at timestamptz not null,
  told_expiry_at timestamptz,
  constraint stored_grants_pkey primary key (user_id, credit_type, grant_no),
  constraint stored_grants_account_fkey foreign key (user_id) references credits.accounts (user_id),
  constraint stored_grants_source_known check (source in ('monthly', 'purchased', 'trial', 'promotional', 'refund', 'adjustment')),
  constraint stored_grants_amount_positive check (amount > 0),
  constraint stored_grants_remaining_in_range check (remaining >= 0 and remaining <= amount),
  constraint stored_grants_purchased_never_expire check (source <> 'purchased' or expires_at = 'infinity')
);

-- The spending order, over what can still be spent: an old account's used-up grants cost nothing.
create index stored_grants_spending_order on credits.stored_grants
  (user_id, credit_type, priority, expires_at, grant_no) where remaining > 0;

-- For notify_expiring(): few grants expire, apart from the monthly ones.
create index stored_grants_expiring on credits.stored_grants (expires_at)
  where expires_at < 'infinity' and source <> 'monthly' and told_expiry_at is null;

comment on table credits.stored_grants is
  'Where every credit comes from. grant_no is the number of the ledger entry that granted it. Read the view credit_grants instead: '
  'remaining is without the slice that is open on the wallet.';
comment on column credits.stored_grants.source is
  'monthly (an allowance that renews, also daily), purchased, trial (also an allowance that comes once), promotional, refund or adjustment.';

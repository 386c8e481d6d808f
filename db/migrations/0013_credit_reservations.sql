create table credits.credit_reservations (
  user_id uuid not null,
  reservation_id uuid not null,
  credit_type text not null,
  action_type text not null,
  unit_price numeric(20,6) not null,
  quantity numeric(20,6) not null,
  amount numeric(20,6) not null,
  allocations jsonb not null,
  limit_period text,
  limit_period_no integer,
  status text not null default 'held',
  created_at timestamptz not null,
  expires_at timestamptz not null,
  settled_at timestamptz,
  hold_entry_no bigint not null,
  settled_entry_no bigint,
  result jsonb,
  metadata jsonb not null default '{}',
  constraint credit_reservations_pkey primary key (user_id, reservation_id),
  constraint credit_reservations_status_known check (status in ('held', 'committed', 'released', 'lapsed')),
  constraint credit_reservations_amount_not_negative check (amount >= 0 and quantity > 0)
);

create index credit_reservations_held on credits.credit_reservations (user_id, credit_type, expires_at) where status = 'held';

comment on table credits.credit_reservations is
  'Holds: credits taken out of what can be spent for work that is under way, at a pinned price. Read and written under the wallet''s lock.';
comment on column credits.credit_reservations.allocations is 'The grants that the hold took from, in that order, and how much.';
comment on column credits.credit_reservations.limit_period is 'day or month: the counter in usage_counters that counts the hold; null without a limit.';
comment on column credits.credit_reservations.status is
  'held, committed, released or lapsed. One whose time is over still says held until the wallet is settled: go by expires_at too.';
comment on column credits.credit_reservations.result is 'What commit returned, for whoever commits again.';

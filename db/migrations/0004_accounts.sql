create table credits.accounts (
  user_id uuid not null,
  plan_id text not null,
  time_zone text not null,
  period_anchor timestamptz not null,
  status text not null default 'active',
  total_minutes_used bigint not null default 0,
  created_at timestamptz not null,
  status_reason text,
  status_changed_at timestamptz,
  constraint accounts_pkey primary key (user_id),
  constraint accounts_plan_fkey foreign key (plan_id) references credits.plans (plan_id),
  constraint accounts_status_known check (status in ('active', 'suspended', 'closed')),
  constraint accounts_minutes_not_negative check (total_minutes_used >= 0)
);

comment on table credits.accounts is
  'One row per user: the plan, and the zone and anchor from which allowance periods are counted. Operations lock it '
  'after the wallets of the user. A change of status by hand locks it before them, and may have to be repeated after a 40P01.';
comment on column credits.accounts.status is 'active, suspended (spends nothing until reactivate_account()) or closed (for good).';

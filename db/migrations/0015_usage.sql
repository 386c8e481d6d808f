create table credits.usage_attempts (
  user_id uuid not null,
  attempt_id uuid not null,
  action_type text not null,
  service text,
  tokens_used numeric,
  response_time_ms numeric,
  occurred_at timestamptz,
  metadata jsonb not null,
  created_at timestamptz not null,
  constraint usage_attempts_pkey primary key (user_id, attempt_id)
);

comment on table credits.usage_attempts is
  'Operations that failed, and so were not charged, as the application reported them. What succeeded is in the ledger.';
comment on column credits.usage_attempts.occurred_at is 'When it happened by the reporter''s clock; created_at is the engine''s.';

create table credits.usage_daily (
  user_id uuid not null,
  day date not null,
  credit_type text not null,
  action_type text not null,
  period_no integer not null,
  uses bigint not null,
  quantity numeric(30,6) not null,
  amount numeric(30,6) not null,
  refunded numeric(30,6) not null,
  -- The day comes first, so that a reader of the last weeks passes by the years before them.
  constraint usage_daily_pkey primary key (user_id, day, credit_type, action_type, period_no)
) with (fillfactor = 80);

comment on table credits.usage_daily is
  'What was used each day, rolled up from the ledger by roll_up_usage() as far as usage_rollups says; the rest is read from the ledger.';
comment on column credits.usage_daily.day is 'The day in the account''s time zone.';
comment on column credits.usage_daily.period_no is
  'The number of the day that is counted from the account''s anchor and begins at the anchor''s time of day. Every allowance period, whatever the '
  'plan, is made of whole ones of these.';
comment on column credits.usage_daily.amount is 'Credits used, before refunds; refunded is what was given back on this day, whenever it was used.';

create table credits.usage_rollups (
  user_id uuid not null,
  credit_type text not null,
  entry_no bigint not null,
  constraint usage_rollups_pkey primary key (user_id, credit_type)
) with (fillfactor = 80);

comment on table credits.usage_rollups is
  'Per wallet the last ledger entry that is in usage_daily. Whoever rolls up a wallet locks this row, never the wallet.';

create table credits.usage_counters (
  user_id uuid not null,
  action_type text not null,
  period text not null,
  period_no integer not null,
  used numeric(20,6) not null,
  constraint usage_counters_pkey primary key (user_id, action_type, period, period_no)
);

comment on table credits.usage_counters is
  'Priced units used, and held, of actions that the account''s plan limits, per period of the account. Written under the wallet''s lock.';
comment on column credits.usage_counters.period is 'day or month, as plan_features.limit_period.';

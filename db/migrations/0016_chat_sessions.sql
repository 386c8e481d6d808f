create table credits.chat_sessions (
  user_id uuid not null,
  session_id uuid not null,
  action_type text not null,
  credit_type text,
  rate numeric,
  interval_seconds integer,
  free_seconds integer not null,
  elapsed_seconds integer not null default 0,
  charged_intervals bigint not null default 0,
  credits_used numeric(20,6) not null default 0,
  credits_owed numeric(20,6) not null default 0,
  started_at timestamptz not null,
  updated_at timestamptz not null,
  constraint chat_sessions_pkey primary key (user_id, session_id),
  constraint chat_sessions_price_is_whole check (num_nulls(credit_type, rate, interval_seconds) in (0, 3)),
  constraint chat_sessions_price_in_range check (rate >= 0 and interval_seconds > 0),
  constraint chat_sessions_seconds_not_negative check (free_seconds >= 0 and elapsed_seconds >= 0)
);

create index chat_sessions_owed on credits.chat_sessions (user_id, credit_type, started_at, session_id) where credits_owed > 0;

comment on table credits.chat_sessions is
  'What is metered by time: how long a session ran, and how much of that is charged. Written under the wallet''s lock; sessions of unknown '
  'accounts, which have no wallet, under their row''s own.';
comment on column credits.chat_sessions.rate is
  'Credits per interval, pinned when the session opened; null until there is an account with a price. credit_type and interval_seconds likewise.';
comment on column credits.chat_sessions.elapsed_seconds is 'The greatest running total that was reported.';
comment on column credits.chat_sessions.charged_intervals is 'How many whole intervals after the free seconds are charged: never again below this.';
comment on column credits.chat_sessions.credits_used is 'What was charged: charged_intervals times rate, and the sum of the usage entries that refer to the session.';
comment on column credits.chat_sessions.credits_owed is 'The whole intervals that are not charged yet, times rate. Paid as soon as credits come.';

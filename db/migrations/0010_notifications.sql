create table credits.notifications (
  user_id uuid not null,
  notification_id uuid not null default gen_random_uuid(),
  type text not null,
  severity text not null,
  credit_type text not null,
  action_type text not null default '',
  title text not null,
  message text not null,
  details jsonb not null default '{}',
  repeats integer not null default 1,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  -- The client's statement that told it last, by its time.
  statement_at timestamptz not null default statement_timestamp(),
  read_at timestamptz,
  -- By which somebody watching finds what is new.
  change_no bigint not null default 0,
  constraint notifications_pkey primary key (user_id, notification_id),
  constraint notifications_type_known check (
    type in ('deduction_failed', 'low_balance', 'exhausted', 'reset', 'purchase', 'expiring_soon',
      'top_up_failed')),
  constraint notifications_severity_known check (severity in ('info', 'warning'))
);

-- At most one unread notification per occasion: what happens again counts up.
create unique index notifications_unread on credits.notifications (user_id, type, credit_type, action_type) where read_at is null;

create index notifications_changed on credits.notifications (user_id, credit_type, change_no);

comment on table credits.notifications is
  'What a person should be told. The unread one of the same kind counts its repeats, so a retry loop fills no inbox.';
comment on column credits.notifications.type is
  'deduction_failed (a charge, hold or row was declined), low_balance (low_threshold reached), exhausted (nothing left), reset (the allowance was renewed), '
  'purchase (completed), expiring_soon (by notify_expiring()) or top_up_failed (automatic top-up is stopped).';
comment on column credits.notifications.severity is 'warning (deduction_failed, low_balance, exhausted, top_up_failed) or info (the others).';
comment on column credits.notifications.details is
  'For programs, by type, of the last repeat. deduction_failed: code, action_type, required, available, rows; low_balance: available, threshold; exhausted: next_reset; '
  'reset: available, next_reset; purchase: purchase_id, package_id, credits, price_minor, currency, available; expiring_soon: amount, expires_at (the first), grants; '
  'top_up_failed: purchase_id, package_id, price_minor, currency, reason.';
comment on column credits.notifications.change_no is 'The change_no that the wallet of this credit type got when the notification was last told or read.';

create table credits.worker_sweeps (
  job text not null,
  after_user_id uuid,
  since timestamptz,
  began_at timestamptz,
  ended_at timestamptz,
  every interval,
  constraint worker_sweeps_pkey primary key (job)
);

comment on table credits.worker_sweeps is
  'How far the worker''s jobs that go through all users have come. Whoever does a slice of a job locks its row, so that several hosts share one sweep, and '
  'a restarted one goes on where the last one stopped.';
comment on column credits.worker_sweeps.after_user_id is 'The last user done in the sweep that is under way; null at its beginning, and between sweeps.';
comment on column credits.worker_sweeps.since is 'When the sweep before this one began.';
comment on column credits.worker_sweeps.ended_at is 'Null while a sweep is under way.';
comment on column credits.worker_sweeps.every is 'How often the worker is to sweep, as it said last; null until it did.';

insert into credits.worker_sweeps (job) values ('rollups'), ('verify'), ('anomalies'), ('keys');

create table credits.alerts (
  user_id uuid not null,
  -- A UUIDv5 of the kind, the credit type and the subject, so that what is found again is not raised again.
  alert_id uuid not null,
  kind text not null,
  credit_type text not null default '',
  subject text not null,
  details jsonb not null,
  repeats integer not null default 1,
  raised_at timestamptz not null,
  closed_at timestamptz,
  acknowledged_at timestamptz,
  acknowledged_by text,
  note text,
  constraint alerts_pkey primary key (user_id, alert_id),
  constraint alerts_kind_known check (kind in ('discrepancy', 'attachment', 'high_usage', 'many_declines')),
  constraint alerts_acknowledged_by_somebody check ((acknowledged_at is null) = (acknowledged_by is null))
);

create index alerts_newest on credits.alerts (raised_at, alert_id);
create index alerts_open on credits.alerts (raised_at, alert_id) where closed_at is null;

comment on table credits.alerts is
  'What an operator should look at. A discrepancy, and an attachment out of order, is open until a later verification does not find it any more; high usage '
  'and many declines are open until they are acknowledged.';
comment on column credits.alerts.user_id is 'Whom it is about; 00000000-0000-0000-0000-000000000000 where it is about no user (attachment).';
comment on column credits.alerts.kind is
  'discrepancy (verify_ledger found the books wrong), attachment (verify_attachments found a trigger out of order), high_usage (far more was used in an hour '
  'than usual) or many_declines (far more was declined).';
comment on column credits.alerts.subject is 'What is wrong, which is the same however often it is found; of high_usage and many_declines the hour, in UTC.';
comment on column credits.alerts.details is
  'As it was found last. discrepancy: expected, actual, rows; attachment: relation, trigger_name, problem; high_usage: hour, used, hourly_mean; many_declines: hour, declines, hourly_mean.';
comment on column credits.alerts.repeats is 'How often it was raised: once more whenever it comes back after it was closed.';

create table credits.decline_counts (
  user_id uuid not null,
  credit_type text not null,
  hour timestamptz not null,
  declines bigint not null,
  constraint decline_counts_pkey primary key (user_id, credit_type, hour)
) with (fillfactor = 80);

-- For find_anomalies(). Only the first decline of an hour writes it.
create index decline_counts_hour on credits.decline_counts (hour);

comment on table credits.decline_counts is
  'How many charges, holds and rows of a user were declined in each of the last hours. Written with the notification of a decline, under the same lock; what is older than 8 days goes.';

-- For expire_purchases() and the worker's lag: what is pending is little.
create index credit_purchases_pending on credits.credit_purchases (created_at) where status = 'pending';

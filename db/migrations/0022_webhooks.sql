create table credits.webhook_endpoints (
  endpoint_id uuid not null,
  url text not null,
  description text not null default '',
  events text[] not null default '{*}',
  is_active boolean not null default true,
  request_hash text not null,
  secret text not null,
  previous_secret text,
  previous_secret_until timestamptz,
  rotation_key text,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  claimed_at timestamptz,
  failures integer not null default 0,
  paused_until timestamptz,
  probe_id uuid,
  last_failed_at timestamptz,
  last_error text,
  constraint webhook_endpoints_pkey primary key (endpoint_id),
  constraint webhook_endpoints_events_not_empty check (cardinality(events) between 1 and 50 and array_position(events, null) is null),
  constraint webhook_endpoints_previous_secret_ends check ((previous_secret is null) = (previous_secret_until is null)),
  constraint webhook_endpoints_failures_not_negative check (failures >= 0)
);

comment on table credits.webhook_endpoints is
  'Where events are sent, and how each endpoint fares. Its row is locked by whoever claims deliveries to it, so two hosts never claim at once. Secrets are protected by the host '
  'that made them, and no role reads this table.';
comment on column credits.webhook_endpoints.events is 'Types of events that it is sent: exact ones, all of a kind (purchase.*, notification.*) or all (*).';
comment on column credits.webhook_endpoints.request_hash is 'What it was added with, so that a repetition is told from another request.';
comment on column credits.webhook_endpoints.secret is 'Signs what is sent; protected, never the plain text.';
comment on column credits.webhook_endpoints.previous_secret is 'Signs as well until previous_secret_until, so that the receiver can change over.';
comment on column credits.webhook_endpoints.rotation_key is 'The idempotency key of the last rotation, so that repeating it rotates nothing.';
comment on column credits.webhook_endpoints.failures is 'Failed deliveries in a row, of any account; while paused only the probes count.';
comment on column credits.webhook_endpoints.paused_until is 'Nothing is sent until then; after that one delivery at a time, the probe, until one succeeds. Null: all is well.';
comment on column credits.webhook_endpoints.probe_id is 'The lease of the delivery that finds out whether a paused endpoint is back.';

create table credits.webhook_deliveries (
  user_id uuid not null,
  delivery_id uuid not null,
  endpoint_id uuid not null,
  event_id uuid not null,
  type text not null,
  notification_id uuid,
  data jsonb,
  created_at timestamptz not null,
  moment_no integer not null,
  status text not null default 'pending',
  pending_since timestamptz not null,
  attempts integer not null default 0,
  next_attempt_at timestamptz not null,
  lease_id uuid,
  last_error text,
  finished_at timestamptz,
  constraint webhook_deliveries_pkey primary key (user_id, delivery_id),
  constraint webhook_deliveries_status_known check (status in ('pending', 'delivered', 'dead')),
  constraint webhook_deliveries_pending_is_not_finished check ((status = 'pending') = (finished_at is null)),
  constraint webhook_deliveries_finished_is_not_leased check (status = 'pending' or lease_id is null)
);

comment on table credits.webhook_deliveries is
  'Events on their way to each endpoint that wants them: written with what they tell of, in its transaction and only if there is such an endpoint. Of each account an endpoint is sent one '
  'at a time, in the order of created_at and moment_no.';
comment on column credits.webhook_deliveries.event_id is 'The same for all endpoints, and in every attempt.';
comment on column credits.webhook_deliveries.notification_id is 'The notification that it tells of.';
comment on column credits.webhook_deliveries.data is 'Null where repeats of a notification are told later, together: then taken from the notification by the first attempt.';
comment on column credits.webhook_deliveries.created_at is 'The moment of the event; of a summary of repeats the moment from which it is sent.';
comment on column credits.webhook_deliveries.moment_no is 'Orders the user''s events of one moment.';
comment on column credits.webhook_deliveries.pending_since is 'When it could be sent first, or was made so again by retry_dead_webhooks().';
comment on column credits.webhook_deliveries.next_attempt_at is 'Not sent before. Of one that is being sent (lease_id), when the lease ends and another host may.';

-- The order of an account, and what is due to an endpoint.
create index webhook_deliveries_order on credits.webhook_deliveries (user_id, created_at, moment_no) where status = 'pending';
create index webhook_deliveries_due on credits.webhook_deliveries (endpoint_id, next_attempt_at) where status = 'pending';
create index webhook_deliveries_leased on credits.webhook_deliveries (endpoint_id, user_id) where lease_id is not null;
-- What of a notification was told, and when.
create index webhook_deliveries_notification on credits.webhook_deliveries (user_id, notification_id, created_at) where notification_id is not null;
create index webhook_deliveries_dead on credits.webhook_deliveries (endpoint_id, created_at, delivery_id) where status = 'dead';
create index webhook_deliveries_dead_id on credits.webhook_deliveries (delivery_id) where status = 'dead';
create index webhook_deliveries_finished on credits.webhook_deliveries (finished_at) where status <> 'pending';

-- Three selects without a condition of their own, which the planner flattens, so that a page of the newest entries is read off the keys of the three tables.
create or replace view credits.credit_usage_logs
with (security_invoker = true)
as
select
  u.id,
  u.user_id,
  u.credit_type,
  u.call_id,
  u.usage_type,
  u.action_type,
  u.quantity,
  u.amount_used,
  u.duration_seconds,
  u.rate_per_minute,
  u.balance_before,
  u.balance_after,
  u.cost_breakdown,
  u.sources,
  u.row_source,
  u.row_id,
  u.reference_id,
  u.metadata,
  u.created_at
from (
  select
    l.entry_no as id,
    l.user_id,
    l.credit_type,
    case when l.duration_seconds is not null then l.row_id::uuid end as call_id,
    case when l.duration_seconds is not null then 'call' else 'action' end as usage_type,
    l.action_type,
    l.quantity,
    -l.amount as amount_used,
    l.duration_seconds,
    case when l.duration_seconds is not null then l.unit_price end as rate_per_minute,
    l.balance_after - l.amount as balance_before,
    l.balance_after,
    l.cost_breakdown,
    credits.allocations(l.allocations, l.grant_no, (
      select g.source from credits.stored_grants g where g.user_id = l.user_id and g.credit_type = l.credit_type and g.grant_no = l.grant_no), l.amount) as sources,
    l.row_source,
    l.row_id,
    l.reference_id,
    l.metadata,
    l.created_at,
    l.kind
  from credits.credit_ledger l
  union all
  select
    l.entry_no,
    l.user_id,
    l.credit_type,
    case when l.duration_seconds is not null then l.row_id::uuid end,
    case when l.duration_seconds is not null then 'call' else 'action' end,
    l.action_type,
    l.quantity,
    -l.amount,
    l.duration_seconds,
    case when l.duration_seconds is not null then l.unit_price end,
    l.balance_after - l.amount,
    l.balance_after,
    l.cost_breakdown,
    credits.allocations(l.allocations, l.grant_no, (
      select g.source from credits.stored_grants g where g.user_id = l.user_id and g.credit_type = l.credit_type and g.grant_no = l.grant_no), l.amount),
    l.row_source,
    l.row_id,
    l.reference_id,
    l.metadata,
    l.created_at,
    l.kind
  from credits.credit_ledger_archive l
  union all
  select
    -u.import_no,
    u.user_id,
    'credits',
    u.call_id,
    case when u.duration_seconds is not null then 'call' else 'action' end,
    u.action_type,
    u.quantity,
    u.amount_used,
    u.duration_seconds,
    null,
    null,
    null,
    null,
    '[]',
    null,
    null,
    null,
    u.metadata,
    u.created_at,
    'usage'
  from credits.imported_usage u
) u
where u.kind = 'usage';

comment on view credits.credit_usage_logs is
  'What was used: one row per charge, with the grants it drew on. id is the entry number, unique per user and credit type; '
  'below zero, and without balances, for what import_history() brought.';
comment on column credits.credit_usage_logs.usage_type is 'call (it has duration_seconds) or action.';

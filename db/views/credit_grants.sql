create or replace view credits.credit_grants
with (security_invoker = true)
as
select
  g.user_id,
  g.credit_type,
  g.grant_no,
  g.source,
  g.amount,
  g.remaining + case when w.open_grant_no = g.grant_no then w.open_remaining else 0 end as remaining,
  g.priority,
  nullif(g.expires_at, 'infinity') as expires_at,
  g.period_no,
  g.created_at
from credits.stored_grants g
join credits.wallets w on w.user_id = g.user_id and w.credit_type = g.credit_type;

comment on view credits.credit_grants is
  'Every grant and what is left of it, the open one included. Spent in the order priority, expires_at (none last), grant_no.';
comment on column credits.credit_grants.source is 'As stored_grants.source.';

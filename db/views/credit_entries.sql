create or replace view credits.credit_entries
with (security_invoker = true)
as
select l.* from credits.credit_ledger l where l.kind <> 'opening'
union all
select a.* from credits.credit_ledger_archive a;

comment on view credits.credit_entries is
  'Every entry that was ever written, archived or not, without the opening entries that stand for archived ones.';
comment on column credits.credit_entries.kind is 'As credit_ledger.kind, without opening.';

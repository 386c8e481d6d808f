create or replace function credits.usage_tail(
  p_user_id uuid,
  p_credit_type text
)
returns table (
  created_at timestamptz,
  action_type text,
  uses bigint,
  quantity numeric,
  credits numeric
)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_mark bigint := coalesce((
    select r.entry_no from credits.usage_rollups r where r.user_id = p_user_id and r.credit_type = p_credit_type), 0);
  v_newest bigint := (select w.entry_no from credits.wallets w where w.user_id = p_user_id and w.credit_type = p_credit_type);
begin
  -- Both bounds, so that no planner takes the tail for a good part of the table.
  return query
    select l.created_at, coalesce(l.action_type, ''),
      case l.kind when 'usage' then 1::bigint else 0 end,
      case l.kind when 'usage' then l.quantity else 0 end,
      -l.amount
    from credits.credit_ledger l
    where l.user_id = p_user_id and l.credit_type = p_credit_type and l.entry_no > v_mark and l.entry_no <= v_newest
      and l.kind in ('usage', 'refund');
end
$$;

comment on function credits.usage_tail(uuid, text) is
  'Internal. The usage and refund entries of a wallet that are not in usage_daily yet; credits is below zero for a refund. One stable function, '
  'and so one snapshot with whatever else the calling statement reads.';

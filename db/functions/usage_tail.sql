create or replace function credits.usage_tail(
  p_user_id uuid,
  p_credit_type text,
  p_from timestamptz
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
  v_high bigint := v_newest;
  v_middle bigint;
begin
  -- Where nothing has been rolled up for long: entry times do not decrease with the numbers, so halving finds where p_from begins.
  while v_high - v_mark > 200 loop
    v_middle := (v_mark + v_high) / 2;
    if (select l.created_at
        from credits.credit_entries l
        where l.user_id = p_user_id and l.credit_type = p_credit_type and l.entry_no = v_middle) >= p_from then
      v_high := v_middle;
    else
      v_mark := v_middle;
    end if;
  end loop;

  -- Both bounds, so that no planner takes the tail for a good part of the table.
  return query
    select l.created_at, coalesce(l.action_type, ''),
      case l.kind when 'usage' then 1::bigint else 0 end,
      case l.kind when 'usage' then l.quantity else 0 end,
      -l.amount
    from credits.credit_entries l
    where l.user_id = p_user_id and l.credit_type = p_credit_type and l.entry_no > v_mark and l.entry_no <= v_newest
      and l.kind in ('usage', 'refund') and l.created_at >= p_from;
end
$$;

comment on function credits.usage_tail(uuid, text, timestamptz) is
  'Internal. The usage and refund entries of a wallet since a moment that are not in usage_daily yet; credits is below zero for a refund. Stable, '
  'and so of one snapshot with whatever else the calling statement reads. Locks nothing.';

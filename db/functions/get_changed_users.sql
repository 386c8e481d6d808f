create or replace function credits.get_changed_users(
  p_user_ids uuid[],
  p_change_nos bigint[],
  p_due_ats timestamptz[]
)
returns table (user_id uuid, change_no bigint, is_due boolean)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := credits.clock_now();
begin
  return query
  select k.user_id, c.change_no, coalesce(k.due_at <= v_now, false)
  from unnest(p_user_ids, p_change_nos, p_due_ats) k (user_id, change_no, due_at)
  cross join lateral (
    -- A wallet that was opened counts too.
    select coalesce(sum(w.change_no + 1), 0)::bigint as change_no
    from credits.wallets w
    where w.user_id = k.user_id
  ) c
  where c.change_no is distinct from k.change_no or k.due_at <= v_now;
end
$$;

comment on function credits.get_changed_users(uuid[], bigint[], timestamptz[]) is
  'Which of the users that somebody watches have changed, or fall due: p_change_nos is what this function last returned of them (null: return them), p_due_ats the due_at of '
  'get_changes(). For a few times a second: one look at their wallets, by key. Reads only and locks nothing.';

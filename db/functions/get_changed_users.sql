create or replace function credits.get_changed_users(
  p_user_ids uuid[],
  p_change_nos bigint[],
  p_due_ats timestamptz[]
)
returns setof uuid
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := credits.clock_now();
begin
  return query
  select k.user_id
  from unnest(p_user_ids, p_change_nos, p_due_ats) k (user_id, change_no, due_at)
  cross join lateral (
    -- A wallet that was opened counts too.
    select coalesce(sum(w.change_no + 1), 0) as change_no
    from credits.wallets w
    where w.user_id = k.user_id
  ) c
  where c.change_no is distinct from k.change_no or k.due_at <= v_now;
end
$$;

comment on function credits.get_changed_users(uuid[], bigint[], timestamptz[]) is
  'Which of the users that somebody watches have changed since get_changes() returned these change_no and due_at of them: a few times a second, one look at their '
  'wallets by key. Reads only and locks nothing.';

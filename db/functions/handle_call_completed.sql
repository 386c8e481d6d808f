create or replace function credits.handle_call_completed()
returns trigger
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_user_ids uuid[];
  v_row_ids text[];
  v_minutes numeric[];
  v_seconds integer[];
begin
  -- format() prints a value by its type's own output function; a cast could be somebody else's code, run with the engine's rights.
  if tg_level = 'ROW' then
    v_user_ids := array[nullif(format('%s', new.user_id), '')::uuid];
    v_row_ids := array[format('%s', new.id)];
    v_seconds := array[format('%s', new.duration_seconds)::integer];
  else
    select array_agg(r.user_id), array_agg(r.id), array_agg(r.seconds)
    into v_user_ids, v_row_ids, v_seconds
    from (
      select nullif(format('%s', n.user_id), '')::uuid as user_id, format('%s', n.id) as id, nullif(format('%s', n.duration_seconds), '')::integer as seconds
      from new_rows n
      where format('%s', n.status) = 'completed'
    ) r
    where r.seconds > 0;
  end if;
  v_minutes := array(select ceil(s.seconds / 60.0) from unnest(v_seconds) with ordinality as s (seconds, n) order by s.n);
  perform credits.charge_row_set('agent_call_runtime', 'public.calls', v_user_ids, v_row_ids, v_minutes, v_seconds);
  return null;
end
$$;

comment on function credits.handle_call_completed() is
  'Trigger function for public.calls: charges agent_call_runtime per started minute for calls inserted as completed (statement level, '
  'transition table new_rows) and for the update that makes a call completed with seconds (row level; the trigger''s WHEN decides). A call is '
  'charged once, however often it completes. Locks the wallets of the users in ascending order (an update of several calls: in the order of the '
  'rows), each user''s account after the wallet. Raises UC1xx under the policy reject.';

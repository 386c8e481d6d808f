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
  perform credits.check_row_types(tg_relid, 'user_id', 'id', 'status', 'duration_seconds');
  if tg_level = 'ROW' then
    v_user_ids := array[new.user_id];
    v_row_ids := array[new.id::text];
    v_minutes := array[ceil(new.duration_seconds / 60.0)];
    v_seconds := array[new.duration_seconds];
  else
    select array_agg(r.user_id), array_agg(r.id::text), array_agg(ceil(r.duration_seconds / 60.0)), array_agg(r.duration_seconds)
    into v_user_ids, v_row_ids, v_minutes, v_seconds
    from new_rows r
    where r.status = 'completed' and r.duration_seconds > 0;
  end if;
  perform credits.charge_row_set('agent_call_runtime', 'public.calls', v_user_ids, v_row_ids, v_minutes, v_seconds);
  return null;
end
$$;

comment on function credits.handle_call_completed() is
  'Trigger function for public.calls: charges agent_call_runtime per started minute for calls inserted as completed (statement level, '
  'transition table new_rows) and for the update that makes a call completed with seconds (row level; the trigger''s WHEN decides). A call is '
  'charged once, however often it completes. Locks the wallets of the users in ascending order (an update of several calls: in the order of the '
  'rows), each user''s account after the wallet. Raises UC1xx under the policy reject.';

create or replace function credits.roll_up_next(
  p_every interval default null,
  p_limit integer default 1000
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := credits.clock_now();
  v_sweep credits.worker_sweeps;
  v_done jsonb;
begin
  perform credits.check_argument(p_limit between 1 and 100000, 'p_limit', 'must be 1 to 100000');
  v_sweep := credits.begin_sweep('rollups', p_every, v_now);
  if v_sweep.job is null then
    return credits.outcome('ok', '{"items": 0, "is_done": true}');
  end if;
  v_done := credits.roll_up_usage(v_sweep.after_user_id, p_limit);
  perform credits.save_sweep(v_sweep, (v_done ->> 'last_user_id')::uuid, v_done ->> 'last_user_id' is null, v_now);
  return credits.outcome('ok', jsonb_build_object('items', v_done -> 'entries', 'is_done', v_done ->> 'last_user_id' is null));
end
$$;

comment on function credits.roll_up_next(interval, integer) is
  'The worker''s roll_up_usage(): the next p_limit accounts of a sweep through all of them that several workers share. A new sweep begins p_every after the last '
  'one began; null: as soon as that is complete. Returns items (how many entries were rolled up) and is_done: true when the sweep is complete, none is due, or another worker is just '
  'doing a slice. Locks the sweep, not waiting for it, then what roll_up_usage() locks. Raises UC001 for malformed arguments.';

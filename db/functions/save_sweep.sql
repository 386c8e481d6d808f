create or replace function credits.save_sweep(
  p_sweep credits.worker_sweeps,
  p_after uuid,
  p_is_done boolean,
  p_now timestamptz
)
returns void
language plpgsql
volatile
as $$
begin
  update credits.worker_sweeps s
  set after_user_id = case when not p_is_done then p_after end,
    since = p_sweep.since,
    began_at = p_sweep.began_at,
    ended_at = case when p_is_done then p_now end,
    every = p_sweep.every
  where s.job = p_sweep.job;
end
$$;

comment on function credits.save_sweep(credits.worker_sweeps, uuid, boolean, timestamptz) is
  'Internal. The end of a slice: the sweep goes on after the user p_after (null: at the beginning), or is complete. The caller holds the lock of begin_sweep().';

create or replace function credits.begin_sweep(
  p_job text,
  p_every interval,
  p_now timestamptz
)
returns credits.worker_sweeps
language plpgsql
volatile
as $$
declare
  v_sweep credits.worker_sweeps;
begin
  perform credits.check_argument(coalesce(p_every > interval '0' and p_every <= interval '366 days', true), 'p_every', 'must be above 0 and at most 366 days');
  select s.* into v_sweep
  from credits.worker_sweeps s
  where s.job = p_job
  for update skip locked;
  if not found then
    return null;
  end if;
  if v_sweep.began_at is null or v_sweep.ended_at is not null then
    if v_sweep.began_at + p_every > p_now then
      return null;
    end if;
    v_sweep.since := v_sweep.began_at;
    v_sweep.began_at := p_now;
    v_sweep.ended_at := null;
    v_sweep.after_user_id := null;
  end if;
  v_sweep.every := coalesce(p_every, v_sweep.every);
  return v_sweep;
end
$$;

comment on function credits.begin_sweep(text, interval, timestamptz) is
  'Internal. Locks a job''s row for the transaction and returns where its sweep is to go on; or where a new one begins, if the last one ended and began at '
  'least p_every ago (null: at once). Null if none is due, or another worker is at it.';

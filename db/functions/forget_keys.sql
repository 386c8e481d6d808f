create or replace function credits.forget_keys(
  p_every interval default null,
  p_limit integer default 1000
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
-- A table that was never analysed looks small, and every key of a user would be compared with every expired one.
set enable_nestloop = off
as $$
declare
  c_keys constant integer := 10000;
  v_now timestamptz := credits.clock_now();
  -- Whoever looks for a key just now began a moment ago.
  v_before timestamptz := v_now - interval '1 hour';
  v_sweep credits.worker_sweeps;
  v_user uuid;
  v_after uuid;
  v_users integer := 0;
  v_is_done boolean;
  v_deleted integer;
  v_total integer := 0;
begin
  perform credits.check_argument(p_limit between 1 and 100000, 'p_limit', 'must be 1 to 100000');
  v_sweep := credits.begin_sweep('keys', p_every, v_now);
  if v_sweep.job is null then
    return credits.outcome('ok', '{"items": 0, "is_done": true}');
  end if;
  v_after := v_sweep.after_user_id;
  for v_user in
    select a.user_id
    from credits.accounts a
    where a.user_id >= coalesce(v_after, '00000000-0000-0000-0000-000000000000') and a.user_id is distinct from v_after
    order by a.user_id
    limit p_limit
  loop
    -- A charge that takes an expired key again holds its lock; the key is not expired any more then.
    with expired as (
      select k.credit_type, k.source, k.key
      from credits.charge_keys k
      where k.user_id = v_user and k.expires_at < v_before
      order by k.credit_type, k.source, k.key
      limit c_keys - v_total
      for update skip locked
    )
    delete from credits.charge_keys k
    using expired e
    where k.user_id = v_user and k.credit_type = e.credit_type and k.source = e.source and k.key = e.key;
    get diagnostics v_deleted = row_count;
    v_total := v_total + v_deleted;
    -- Enough for one transaction; the next one goes on with this user.
    exit when v_total = c_keys;
    v_after := v_user;
    v_users := v_users + 1;
  end loop;
  v_is_done := v_users < p_limit and v_total < c_keys;
  perform credits.save_sweep(v_sweep, v_after, v_is_done, v_now);
  return credits.outcome('ok', jsonb_build_object('items', v_total, 'is_done', v_is_done));
end
$$;

comment on function credits.forget_keys(interval, integer) is
  'Deletes the idempotency keys in charge_keys that expired more than an hour ago (a caller''s are kept for 30 days, and so is what erase_user_data() leaves of them; the identities of charged rows never expire), at most 10000, of '
  'the next p_limit accounts of a sweep through all of them that several workers share. A new sweep begins p_every after the last one began; null: as soon as that is complete. Returns items (how many keys were deleted) and '
  'is_done (true when the sweep is complete, none is due, or another worker is just doing a slice). Locks the sweep, not waiting for it, and no wallet. Raises UC001 for malformed arguments.';

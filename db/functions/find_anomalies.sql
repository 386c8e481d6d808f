create or replace function credits.find_anomalies(
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
  c_factor constant numeric := 5;
  c_min_used constant numeric := 100;
  -- A person who tries in vain gives up sooner.
  c_min_declines constant numeric := 20;
  c_shown constant integer := 20;
  v_now timestamptz := credits.clock_now();
  v_sweep credits.worker_sweeps;
  v_since timestamptz;
  v_users uuid[];
  v_wallet record;
  v_back bigint;
  v_hour record;
  v_mean numeric;
  v_alert jsonb;
  v_is_done boolean;
  v_wallets integer := 0;
  v_raised integer := 0;
  v_alerts jsonb := '[]';
begin
  perform credits.check_argument(p_limit between 1 and 100000, 'p_limit', 'must be 1 to 100000');
  v_sweep := credits.begin_sweep('anomalies', p_every, v_now);
  if v_sweep.job is null then
    return credits.outcome('ok', '{"items": 0, "is_done": true, "raised": 0, "closed": 0, "alerts": []}');
  end if;
  -- The running hour, and what the sweep before this one did not see the end of; after a long pause a day is enough.
  v_since := date_trunc('hour', greatest(coalesce(v_sweep.since, v_sweep.began_at), v_sweep.began_at - interval '1 day'), 'UTC');

  select array_agg(u.user_id order by u.user_id) into v_users
  from (
    select w.user_id
    from credits.wallets w
    where w.user_id >= coalesce(v_sweep.after_user_id, '00000000-0000-0000-0000-000000000000') and w.user_id is distinct from v_sweep.after_user_id
      and w.last_entry_at >= v_since
    group by w.user_id
    order by w.user_id
    limit p_limit
  ) u;

  for v_wallet in
    select w.user_id, w.credit_type, w.entry_no
    from credits.wallets w
    where w.user_id = any (v_users) and w.last_entry_at >= v_since
    order by w.user_id, w.credit_type
  loop
    v_wallets := v_wallets + 1;
    -- Times do not decrease with the numbers, so a few steps backwards, each twice as long, find an entry from before.
    v_back := 32;
    while v_back < v_wallet.entry_no and (
      select l.created_at
      from credits.credit_ledger l
      where l.user_id = v_wallet.user_id and l.credit_type = v_wallet.credit_type and l.entry_no = v_wallet.entry_no - v_back) >= v_since
    loop
      v_back := v_back * 2;
    end loop;

    for v_hour in
      select date_trunc('hour', l.created_at, 'UTC') as hour, -sum(l.amount) as used
      from credits.credit_ledger l
      where l.user_id = v_wallet.user_id and l.credit_type = v_wallet.credit_type
        and l.entry_no > v_wallet.entry_no - v_back and l.entry_no <= v_wallet.entry_no
        and l.kind = 'usage' and l.created_at >= v_since
      group by 1
      having -sum(l.amount) > c_min_used
      order by 1
    loop
      v_mean := credits.mean_usage(v_wallet.user_id, v_wallet.credit_type, v_hour.hour);
      continue when v_hour.used <= c_factor * v_mean;
      v_alert := credits.raise_alert(v_wallet.user_id, 'high_usage', v_wallet.credit_type, to_char(v_hour.hour at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI"Z"'),
        jsonb_build_object('hour', v_hour.hour, 'used', trim_scale(v_hour.used), 'hourly_mean', trim_scale(round(v_mean, 2))), v_now);
      if (v_alert -> 'is_new')::boolean then
        v_raised := v_raised + 1;
        if v_raised <= c_shown then
          v_alerts := v_alerts || (v_alert - 'is_new');
        end if;
      end if;
    end loop;
  end loop;

  -- Those who were declined are few: they are all looked at with the first slice.
  if v_sweep.after_user_id is null then
    delete from credits.decline_counts d where d.hour < v_now - interval '8 days';
    for v_hour in
      select d.user_id, d.hour, sum(d.declines) as declines
      from credits.decline_counts d
      where d.hour >= v_since
      group by d.user_id, d.hour
      having sum(d.declines) > c_min_declines
      order by d.user_id, d.hour
    loop
      select coalesce(sum(d.declines), 0) / least(greatest(extract(epoch from v_hour.hour - a.created_at) / 3600, 24), 168) into v_mean
      from credits.accounts a
      left join credits.decline_counts d on d.user_id = a.user_id and d.hour < v_hour.hour and d.hour >= v_hour.hour - interval '168 hours'
      where a.user_id = v_hour.user_id
      group by a.created_at;
      continue when v_hour.declines <= c_factor * coalesce(v_mean, 0);
      v_alert := credits.raise_alert(v_hour.user_id, 'many_declines', '', to_char(v_hour.hour at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI"Z"'),
        jsonb_build_object('hour', v_hour.hour, 'declines', v_hour.declines, 'hourly_mean', trim_scale(round(coalesce(v_mean, 0), 2))), v_now);
      if (v_alert -> 'is_new')::boolean then
        v_raised := v_raised + 1;
        if v_raised <= c_shown then
          v_alerts := v_alerts || (v_alert - 'is_new');
        end if;
      end if;
    end loop;
  end if;

  v_is_done := (cardinality(v_users) = p_limit) is not true;
  perform credits.save_sweep(v_sweep, v_users[p_limit], v_is_done, v_now);
  return credits.outcome('ok', jsonb_build_object('items', v_wallets, 'is_done', v_is_done, 'raised', v_raised, 'closed', 0,
    'alerts', v_alerts));
end
$$;

comment on function credits.find_anomalies(interval, integer) is
  'Raises an alert for each hour (of UTC) in which a wallet was charged more than 100 credits and more than 5 times its own hourly mean of the seven days before, and for each in which an account was '
  'declined more than 20 times and more than 5 times its mean of the 168 hours before; an account younger than that by as many hours as it has, at least 24. Looks at the running hour and at those since the last '
  'sweep began, a day at most; only at wallets with entries since. Does the next p_limit such accounts of a sweep that several workers share; a new sweep begins p_every after the last one began; null: as soon as '
  'that is complete. Returns items (how many wallets), is_done (true when the sweep is complete, none is due, or another worker is just doing a slice), how many alerts were raised and closed, and the first 20 of '
  'those raised. Locks the sweep, not waiting for it, and no wallet. Raises UC001 for malformed arguments.';

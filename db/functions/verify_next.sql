create or replace function credits.verify_next(
  p_every interval default null,
  p_limit integer default 200
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  -- As many as are worth reading; all of them are in the table.
  c_shown constant integer := 20;
  v_now timestamptz := credits.clock_now();
  v_sweep credits.worker_sweeps;
  v_users uuid[];
  v_from uuid;
  v_to uuid;
  v_problem record;
  v_alert jsonb;
  v_is_done boolean;
  v_found uuid[] := '{}';
  v_raised integer := 0;
  v_alerts jsonb := '[]';
  v_closed integer;
begin
  perform credits.check_argument(p_limit between 1 and 10000, 'p_limit', 'must be 1 to 10000');
  v_sweep := credits.begin_sweep('verify', p_every, v_now);
  if v_sweep.job is null then
    return credits.outcome('ok', '{"items": 0, "is_done": true, "raised": 0, "closed": 0, "alerts": []}');
  end if;

  -- Slices touch, from the lowest id to the highest, so that rows of users without an account are seen too.
  v_from := coalesce(v_sweep.after_user_id, '00000000-0000-0000-0000-000000000000');
  select array_agg(u.user_id order by u.user_id) into v_users
  from (
    select a.user_id
    from credits.accounts a
    where a.user_id >= v_from and a.user_id is distinct from v_sweep.after_user_id
    order by a.user_id
    limit p_limit
  ) u;
  v_is_done := (cardinality(v_users) = p_limit) is not true;
  v_to := case when v_is_done then 'ffffffff-ffff-ffff-ffff-ffffffffffff' else v_users[p_limit] end;

  -- One statement reads the books, and so one snapshot, however much is charged meanwhile.
  for v_problem in
    select p.user_id, 'discrepancy' as kind, coalesce(p.credit_type, '') as credit_type, p.problem as subject,
      jsonb_build_object('expected', min(p.expected), 'actual', min(p.actual), 'rows', count(*)) as details
    from credits.verify_slice(v_from, v_to, true) p
    group by p.user_id, p.credit_type, p.problem
    union all
    select '00000000-0000-0000-0000-000000000000', 'attachment', '', concat_ws(' ', t.relation, t.trigger_name, t.problem),
      jsonb_build_object('relation', t.relation, 'trigger_name', t.trigger_name, 'problem', t.problem)
    from credits.verify_attachments() t
    where v_sweep.after_user_id is null
    order by 1, 2, 3, 4
  loop
    v_alert := credits.raise_alert(v_problem.user_id, v_problem.kind, v_problem.credit_type, v_problem.subject, v_problem.details, v_now);
    v_found := v_found || (v_alert ->> 'alert_id')::uuid;
    if (v_alert -> 'is_new')::boolean then
      v_raised := v_raised + 1;
      if v_raised <= c_shown then
        v_alerts := v_alerts || (v_alert - 'is_new');
      end if;
    end if;
  end loop;

  update credits.alerts a
  set closed_at = v_now
  where a.closed_at is null and a.alert_id <> all (v_found)
    and ((a.kind = 'discrepancy' and a.user_id between v_from and v_to) or (a.kind = 'attachment' and v_sweep.after_user_id is null));
  get diagnostics v_closed = row_count;

  perform credits.save_sweep(v_sweep, v_to, v_is_done, v_now);
  return credits.outcome('ok', jsonb_build_object('items', coalesce(cardinality(v_users), 0), 'is_done', v_is_done,
    'raised', v_raised, 'closed', v_closed, 'alerts', v_alerts));
end
$$;

comment on function credits.verify_next(interval, integer) is
  'The worker''s verify_ledger(): proves the books of the next p_limit accounts of a sweep through all of them that several workers share (and, at its beginning, the '
  'attached triggers), raises an alert for each discrepancy that has none, and closes those whose discrepancy is gone. A new sweep begins p_every after the last one began; null: as soon as that is complete. '
  'Returns items (how many accounts), is_done (true when the sweep is complete, none is due, or another worker is just doing a slice), how many alerts were raised and '
  'closed, and the first 20 of those raised. Locks the sweep, not waiting for it, and no wallet. Raises UC001 for malformed arguments.';

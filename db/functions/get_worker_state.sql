create or replace function credits.get_worker_state(p_purchase_age interval default '25 hours')
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := credits.clock_now();
begin
  perform credits.check_argument(p_purchase_age >= interval '1 minute' and p_purchase_age <= interval '366 days', 'p_purchase_age', 'must be 1 minute to 366 days');
  return credits.outcome('ok', jsonb_build_object(
    'lag', (
      select jsonb_object_agg(l.job, round(greatest(extract(epoch from v_now - l.due_at), 0), 3))
      from (
        select 'settle' as job, coalesce((select w.next_due_at from credits.wallets w where w.next_due_at <= v_now order by w.next_due_at limit 1), v_now) as due_at
        union all
        select 'purchases', coalesce((
          -- As in expire_purchases().
          select p.created_at
          from credits.credit_purchases p
          where p.status = 'pending' and not exists (
            select from credits.top_ups t where t.user_id = p.user_id and t.purchase_id = p.purchase_id and t.leased_until = 'infinity')
          order by p.created_at
          limit 1) + p_purchase_age, v_now)
        union all
        -- A sweep is late from the moment at which it should have begun until it is complete.
        select s.job, coalesce(case when s.ended_at is not null then s.began_at + s.every else coalesce(s.since + s.every, s.began_at) end, v_now)
        from credits.worker_sweeps s
      ) l
    ),
    'open_alerts', (
      select jsonb_object_agg(k.kind, (select count(*) from credits.alerts a where a.closed_at is null and a.kind = k.kind))
      from unnest(array['discrepancy', 'attachment', 'high_usage', 'many_declines']) k (kind)
    )));
end
$$;

comment on function credits.get_worker_state(interval) is
  'How the worker''s jobs stand: lag, for each job, is the seconds by which the oldest thing that is due is late (settle: a reset, expiry or lapsed hold; purchases: one pending for longer than p_purchase_age; '
  'rollups, verify, anomalies, keys: the sweep that should have begun, until it is complete; 0 where the worker never ran); open_alerts is the number of open alerts of each kind. Locks nothing. Raises UC001 for a malformed argument.';

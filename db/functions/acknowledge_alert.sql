create or replace function credits.acknowledge_alert(
  p_user_id uuid,
  p_alert_id uuid default null,
  p_note text default null
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := credits.clock_now();
  v_by text := coalesce(credits.actor(), session_user);
  v_acknowledged integer;
begin
  perform credits.check_argument(p_user_id is not null, 'p_user_id', 'must not be null');
  perform credits.check_argument(coalesce(length(p_note) between 1 and 1000, true), 'p_note', 'must have 1 to 1000 characters');
  update credits.alerts a
  set acknowledged_at = v_now, acknowledged_by = v_by, note = p_note,
    closed_at = case when a.kind in ('high_usage', 'many_declines') then v_now end
  where a.user_id = p_user_id and a.alert_id = coalesce(p_alert_id, a.alert_id) and a.closed_at is null and a.acknowledged_at is null;
  get diagnostics v_acknowledged = row_count;
  if p_alert_id is not null and v_acknowledged = 0
    and not exists (select from credits.alerts a where a.user_id = p_user_id and a.alert_id = p_alert_id)
  then
    return credits.outcome('not_found', jsonb_build_object('alert_id', p_alert_id));
  end if;
  return credits.outcome('ok', jsonb_build_object('acknowledged', v_acknowledged));
end
$$;

comment on function credits.acknowledge_alert(uuid, uuid, text) is
  'Records that somebody (credits.actor, else the session''s role) has seen an open alert of a user, or (null) all of them, with a note. High usage and many declines are closed by it; a discrepancy, '
  'and an attachment out of order, when it is gone. Returns code ok or not_found, and how many were acknowledged just now: 0 for what was before, or is closed. Locks the alerts. Raises UC001 for malformed arguments.';

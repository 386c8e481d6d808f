create or replace function credits.list_alerts(
  p_is_open boolean default true,
  p_kind text default null,
  p_user_id uuid default null,
  p_before_at timestamptz default null,
  p_before_id uuid default null,
  p_limit integer default 50
)
returns table (
  user_id uuid,
  alert_id uuid,
  kind text,
  credit_type text,
  subject text,
  details jsonb,
  repeats integer,
  raised_at timestamptz,
  closed_at timestamptz,
  acknowledged_at timestamptz,
  acknowledged_by text,
  note text
)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
  perform credits.check_argument(coalesce(p_kind in ('discrepancy', 'attachment', 'high_usage', 'many_declines'), true),
    'p_kind', 'must be discrepancy, attachment, high_usage or many_declines');
  perform credits.check_argument((p_before_at is null) = (p_before_id is null), 'p_before_id', 'goes with p_before_at');
  perform credits.check_argument(p_limit between 1 and 1000, 'p_limit', 'must be 1 to 1000');
  return query
    select a.user_id, a.alert_id, a.kind, a.credit_type, a.subject, a.details, a.repeats, a.raised_at, a.closed_at, a.acknowledged_at, a.acknowledged_by, a.note
    from credits.alerts a
    where (p_is_open is null or (a.closed_at is null) = p_is_open)
      and (p_kind is null or a.kind = p_kind)
      and (p_user_id is null or a.user_id = p_user_id)
      and (p_before_at is null or (a.raised_at, a.alert_id) < (p_before_at, p_before_id))
    order by a.raised_at desc, a.alert_id desc
    limit p_limit;
end
$$;

comment on function credits.list_alerts(boolean, text, uuid, timestamptz, uuid, integer) is
  'Alerts, the newest first: open ones (p_is_open null: all; false: closed ones), of a kind, of a user. The next page: raised_at and alert_id of the last row as '
  'p_before_at and p_before_id. Locks nothing. Raises UC001 for malformed arguments.';

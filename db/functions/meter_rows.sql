create or replace function credits.meter_rows()
returns trigger
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  c_uuid constant text := '^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$';
  v_attachment credits.charge_attachments := credits.attachment_of(tg_argv[0], tg_relid, tg_name);
  v_settings jsonb := v_attachment.settings;
  v_user text;
  v_columns text;
  v_old_user_id uuid;
  v_old_session_id uuid;
  v_carried credits.chat_sessions;
  v_row record;
  v_free_seconds integer := (v_settings ->> 'free_seconds')::integer;
begin
  if v_attachment.source is null then
    return null;
  end if;
  -- In the statement format() prints a value by its type's own output function; a cast could be somebody else's code, run with the engine's
  -- rights.
  v_user := format('nullif(format(''%%s'', r.%I), '''')', v_settings ->> 'user_column');
  if v_settings ? 'user_issuer' then
    v_user := format('credits.user_id_for(%L, %s)', v_settings ->> 'user_issuer', v_user);
  end if;
  v_columns := format(
    'select %1$s::uuid as user_id, '
    'case when format(''%%s'', r.%2$I) ~ %3$L then format(''%%s'', r.%2$I)::uuid else credits.user_id_for(%4$L, format(''%%s'', r.%2$I)) end as session_id, '
    'coalesce(nullif(format(''%%s'', r.%5$I), '''')::numeric, 0) as elapsed, %6$s as started_at',
    v_user, v_settings ->> 'session_column', c_uuid, v_attachment.source, v_settings ->> 'elapsed_column',
    case when v_settings ? 'started_column' then format('nullif(format(''%%s'', r.%I), '''')::timestamptz', v_settings ->> 'started_column')
      else 'null::timestamptz' end);
  if tg_op = 'UPDATE' then
    execute format('select o.user_id, o.session_id from (%s from (select ($1).*) r) o', v_columns) into v_old_user_id, v_old_session_id using old;
  end if;

  -- Sorted by user, so that two statements over the same users lock their wallets in the same order.
  for v_row in
    execute format('%s from %s r order by user_id, session_id, elapsed', v_columns, case tg_level when 'ROW' then '(select ($1).*)' else 'new_rows' end)
    using new
  loop
    perform credits.check_argument(v_row.user_id is not null, 'user id', 'a metered row must have a user');
    perform credits.check_argument(v_row.elapsed >= 0 and v_row.elapsed < 'Infinity', 'elapsed seconds', 'must be a number, not below zero');
    perform credits.check_argument(coalesce(v_row.started_at > '-infinity', true), 'started at', 'must be a moment');
    -- What was metered under the row's old identity is not charged again under the new one, be that new or not.
    if tg_op = 'UPDATE' and (v_old_user_id, v_old_session_id) is distinct from (v_row.user_id, v_row.session_id) then
      select s.* into v_carried
      from credits.chat_sessions s
      where s.user_id = v_old_user_id and s.session_id = v_old_session_id;
    end if;
    if not exists (select from credits.chat_sessions s where s.user_id = v_row.user_id and s.session_id = v_row.session_id) then
      perform credits.start_chat_session(v_row.user_id, v_row.session_id, coalesce(v_carried.free_seconds, v_free_seconds),
        least(v_carried.started_at, v_row.started_at));
    end if;
    perform credits.meter_chat_time(v_row.user_id, v_row.session_id, least(floor(v_row.elapsed), 2147483647)::integer, true, v_carried);
  end loop;
  return null;
end
$$;

comment on function credits.meter_rows() is
  'Trigger function that attach_chat() puts on a table; its argument is the source, its settings are in charge_attachments. Opens and meters the sessions of '
  'the inserted rows of a statement, or of the updated row. Locks the wallets of the users of an insert in ascending order (an update of several '
  'rows: in the order of the rows). Raises UC001 for a row without user or session id, or with a malformed number of seconds or start.';

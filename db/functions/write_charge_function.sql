create or replace function credits.write_charge_function(p_source text)
returns text
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_attachment credits.charge_attachments;
  v_settings jsonb;
  v_name text := credits.charge_function_of(p_source);
  v_row text;
  v_user text;
  v_quantity text;
  v_seconds text;
  v_condition text;
  v_select text[] := '{}';
  v_where text[] := '{}';
  v_role regrole;
begin
  select a.* into v_attachment from credits.charge_attachments a where a.source = p_source;
  v_settings := v_attachment.settings;
  -- NEW by the names of its fields: as a row in FROM they would be numbers to a session that planned the statement before a column was renamed.
  foreach v_row in array array['r', 'new'] loop
    -- In the statement format() prints a value by its type's own output function; a cast could be somebody else's code, run with the engine's
    -- rights.
    v_user := format('nullif(format(''%%s'', %s.%I), '''')', v_row, v_settings ->> 'user_column');
    if v_settings ? 'user_issuer' then
      v_user := format('credits.user_id_for(%L, %s)', v_settings ->> 'user_issuer', v_user);
    end if;
    v_quantity := quote_literal(v_settings ->> 'quantity') || '::numeric';
    v_seconds := 'null::integer';
    v_condition := null;
    if v_settings ? 'status_column' then
      v_condition := format('format(''%%s'', %s.%I) = %L', v_row, v_settings ->> 'status_column', v_settings ->> 'status_value');
    end if;
    if v_settings ? 'quantity_column' then
      v_quantity := format('nullif(format(''%%s'', %s.%I), '''')::numeric', v_row, v_settings ->> 'quantity_column');
      -- As in the trigger's WHEN, by the column itself: a negative quantity must get as far as being refused, also where it rounds up to 0.
      v_condition := v_condition || ' and ' || v_quantity || ' <> 0';
      if v_settings ? 'is_call' then
        v_seconds := v_quantity || '::integer';
      end if;
      if v_settings ? 'quantity_per_unit' then
        v_quantity := format('ceil(%s / %L::numeric)', v_quantity, v_settings ->> 'quantity_per_unit');
      end if;
    end if;
    v_select := v_select || format(
      case v_row when 'r' then 'array_agg(%s::uuid), array_agg(%s), array_agg(%s), array_agg(%s)' else 'array[%s::uuid], array[%s], array[%s], array[%s]' end,
      v_user, format('format(''%%s'', %s.%I)', v_row, v_settings ->> 'id_column'), v_quantity, v_seconds);
    v_where := v_where || coalesce(E'\n    where ' || v_condition, '');
  end loop;

  execute format('create or replace function credits.%I() returns trigger language plpgsql volatile security definer '
    'set search_path = pg_catalog, pg_temp as %L', v_name, format(
    '
declare
  v_user_ids uuid[];
  v_row_ids text[];
  v_quantities numeric[];
  v_seconds integer[];
begin
  if (credits.attachment_of(%1$L, tg_relid, tg_name)).source is null then
    return null;
  end if;
  if tg_level = ''ROW'' then
    select %6$s
    into v_user_ids, v_row_ids, v_quantities, v_seconds%7$s;
  else
    select %4$s
    into v_user_ids, v_row_ids, v_quantities, v_seconds
    from new_rows r%5$s;
  end if;
  -- The columns are those that the table had when it was attached: after one was renamed, attach it again.
  perform credits.charge_row_set(%2$L, %1$L, v_user_ids, v_row_ids, v_quantities, %3$s);
  return null;
end
', p_source, v_attachment.action_type, case when v_settings ? 'is_call' then 'v_seconds' else 'null' end,
    v_select[1], v_where[1], v_select[2], v_where[2]));
  execute format('comment on function credits.%I() is %L', v_name, format(
    'Trigger function that attach_charge() wrote for the source %s: charges the inserted rows of a statement, or the row that an update brings to its '
    'status. Locks the wallets of the users of a statement in ascending order (an update of several rows: in the order of the rows). Raises UC001 for a '
    'row without user, id or a valid quantity, UC1xx under the policy reject.', p_source));
  execute format('revoke all on function credits.%I() from public', v_name);
  for v_role in
    select x.grantee
    from pg_proc p
    cross join aclexplode(p.proacl) x
    where p.pronamespace = 'credits'::regnamespace and p.proname = 'register_attachment' and x.grantee not in (0, p.proowner)
  loop
    execute format('grant execute on function credits.%I() to %s', v_name, v_role);
  end loop;
  return v_name;
end
$$;

comment on function credits.write_charge_function(text) is
  'Internal. Writes the trigger function that charges the rows of a source: one for each, so that its statements name the columns and are planned once. '
  'Who may attach tables may execute it; on a table that is not attached it does nothing. Returns its name.';

-- Those that are there were written by an older version of this.
do $$
begin
  perform credits.write_charge_function(a.source) from credits.charge_attachments a where a.settings ? 'quantity';
end
$$;

create or replace function credits.charge_rows()
returns trigger
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_attachment credits.charge_attachments := credits.attachment_of(tg_argv[0], tg_relid, tg_name);
  v_settings jsonb := v_attachment.settings;
  v_user text;
  v_quantity text;
  v_seconds text := 'null::integer';
  v_is_used text := '';
  v_condition text := 'true';
  v_user_ids uuid[];
  v_row_ids text[];
  v_quantities numeric[];
  v_seconds_of_rows integer[];
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
  v_quantity := quote_literal(v_settings ->> 'quantity') || '::numeric';
  if v_settings ? 'quantity_column' then
    v_quantity := format('nullif(format(''%%s'', r.%I), '''')::numeric', v_settings ->> 'quantity_column');
    -- As in the trigger's WHEN, by the column itself: a negative quantity must get as far as being refused, also where it rounds up to 0.
    v_is_used := ' and ' || v_quantity || ' <> 0';
    if v_settings ? 'is_call' then
      v_seconds := v_quantity || '::integer';
    end if;
    if v_settings ? 'quantity_per_unit' then
      v_quantity := format('ceil(%s / %L::numeric)', v_quantity, v_settings ->> 'quantity_per_unit');
    end if;
  end if;
  if v_settings ? 'status_column' then
    v_condition := format('format(''%%s'', r.%I) = %L', v_settings ->> 'status_column', v_settings ->> 'status_value') || v_is_used;
  end if;

  -- The columns' names differ per table, so this is put together at run time.
  execute format('select array_agg(%s::uuid), array_agg(format(''%%s'', r.%I)), array_agg(%s), array_agg(%s) from %s r where %s',
    v_user, v_settings ->> 'id_column', v_quantity, v_seconds,
    case tg_level when 'ROW' then '(select ($1).*)' else 'new_rows' end, v_condition)
  into v_user_ids, v_row_ids, v_quantities, v_seconds_of_rows
  using new;
  perform credits.charge_row_set(v_attachment.action_type, v_attachment.source, v_user_ids, v_row_ids, v_quantities,
    case when v_settings ? 'is_call' then v_seconds_of_rows end);
  return null;
end
$$;

comment on function credits.charge_rows() is
  'Trigger function that attach_charge() puts on a table; its argument is the source, its settings are in charge_attachments. Charges the '
  'inserted rows of a statement, or the row that an update brings to its status. Locks the wallets of the users of a statement in ascending '
  'order (an update of several rows: in the order of the rows). Raises UC001 for a row without user, id or a valid quantity, UC1xx '
  'under the policy reject.';

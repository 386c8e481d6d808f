create or replace function credits.attach_charge(
  p_table regclass,
  p_action_type text,
  p_user_column name default 'user_id',
  p_id_column name default 'id',
  p_quantity numeric default 1,
  p_quantity_column name default null,
  p_quantity_per_unit integer default null,
  p_status_column name default null,
  p_status_value text default null,
  p_source text default null,
  p_user_issuer text default null,
  p_is_call boolean default false
)
returns jsonb
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  c_ids constant text[] := array['uuid', 'text', 'varchar', 'int2', 'int4', 'int8'];
  v_class pg_class;
  v_source text;
  v_insert_name text;
  v_update_name text;
  v_carry_name text;
  v_charge text;
  v_new_reached text := 'true';
  v_old_reached text;
  v_member regclass;
begin
  perform credits.check_attachable(p_table);
  select c.* into v_class from pg_class c where c.oid = p_table;
  perform credits.check_argument(exists (select from credits.credit_costs c where c.action_type = p_action_type),
    'p_action_type', 'there is no price for this action; set_cost() makes one');
  perform credits.check_column(p_table, p_user_column, 'p_user_column',
    case when p_user_issuer is null then array['uuid'] else c_ids end);
  perform credits.check_argument(coalesce(length(p_user_issuer) between 1 and 255, true), 'p_user_issuer', 'must have 1 to 255 characters');
  perform credits.check_column(p_table, p_id_column, 'p_id_column', c_ids);
  -- A partitioned table can promise uniqueness only together with its partition key; a uuid is unique without the promise.
  perform credits.check_argument(exists (
    select
    from pg_index x
    join pg_attribute a on a.attrelid = x.indrelid and a.attname = p_id_column
    where x.indrelid = p_table and x.indisunique and x.indisvalid and x.indimmediate and x.indpred is null
      and a.attnum = any ((string_to_array(x.indkey::text, ' ')::int2[])[1:x.indnkeyatts])
      and (x.indnkeyatts = 1 or (v_class.relkind = 'p' and a.atttypid = 'uuid'::regtype))),
    'p_id_column', 'must be unique, as it tells the rows apart');
  perform credits.check_amount('p_quantity', p_quantity);
  perform credits.check_argument(p_quantity_column is not null or p_quantity_per_unit is null, 'p_quantity_per_unit', 'needs a quantity column');
  perform credits.check_argument(coalesce(p_quantity_per_unit > 0, true), 'p_quantity_per_unit', 'must be greater than zero');
  if p_quantity_column is not null then
    perform credits.check_column(p_table, p_quantity_column, 'p_quantity_column', array['int2', 'int4', 'int8', 'numeric'], p_must_be_set => false);
  end if;
  if p_is_call then
    perform credits.check_column(p_table, p_id_column, 'p_id_column', array['uuid']);
    perform credits.check_argument(p_quantity_column is not null, 'p_quantity_column', 'must be named for a call: the column of its seconds');
    perform credits.check_column(p_table, p_quantity_column, 'p_quantity_column', array['int2', 'int4'], p_must_be_set => false);
    perform credits.check_argument(p_quantity_per_unit = 60, 'p_quantity_per_unit', 'must be 60 for a call, which is charged by the minute');
  end if;
  perform credits.check_argument((p_status_column is null) = (p_status_value is null),
    'p_status_value', 'status column and status value go together');
  if p_status_column is not null then
    perform credits.check_column(p_table, p_status_column, 'p_status_column', array['text', 'varchar', 'enum'], p_must_be_set => false);
    perform credits.check_argument(not exists (
      select
      from pg_attribute a
      join pg_type t on t.oid = a.atttypid and t.typtype = 'e'
      where a.attrelid = p_table and a.attname = p_status_column
        and not exists (select from pg_enum e where e.enumtypid = t.oid and e.enumlabel = p_status_value)),
      'p_status_value', 'is not among the values of the column''s type');
  end if;
  v_source := coalesce(p_source, format('%s.%s', v_class.relnamespace::regnamespace, v_class.relname));
  perform credits.check_argument(length(v_source) between 1 and 255 and v_source not in ('caller', 'import', 'erased'), 'p_source',
    'must have 1 to 255 characters, and not be caller, import or erased');

  v_charge := credits.register_attachment(v_source, p_table, p_action_type, jsonb_strip_nulls(jsonb_build_object(
    'user_column', p_user_column, 'user_issuer', p_user_issuer, 'id_column', p_id_column,
    'quantity', p_quantity, 'quantity_column', p_quantity_column, 'quantity_per_unit', p_quantity_per_unit,
    'status_column', p_status_column, 'status_value', p_status_value, 'is_call', nullif(p_is_call, false))));
  v_insert_name := format('%s_%s', left(p_action_type, 30), left(encode(sha256(convert_to(v_source, 'UTF8')), 'hex'), 8));
  v_update_name := 'credits_charge_update_' || v_insert_name;
  v_carry_name := 'credits_carry_' || v_insert_name;
  v_insert_name := 'credits_charge_insert_' || v_insert_name;
  v_charge := format('execute function credits.%I()', v_charge);

  if v_class.relkind = 'p' and exists (
    select from pg_trigger t
    where t.tgrelid = p_table and t.tgname = v_insert_name and ((t.tgtype & 1) = 1) <> (p_status_column is not null))
  then
    perform credits.drop_charge_triggers(v_source);
  end if;
  if p_status_column is null then
    perform credits.drop_charge_triggers(v_source, array[v_insert_name]);
  else
    v_new_reached := format('new.%I = %L', p_status_column, p_status_value)
      || case when p_quantity_column is null then '' else format(' and new.%I <> 0', p_quantity_column) end;
    v_old_reached := format('old.%I = %L', p_status_column, p_status_value)
      || case when p_quantity_column is null then '' else format(' and old.%I <> 0', p_quantity_column) end;
    perform credits.ensure_trigger(v_source, p_table, v_update_name, 'after update',
      format('for each row when (%s and (%s) is not true) %s', v_new_reached, v_old_reached, v_charge));
    -- Fires before the charge (triggers fire in the order of their names), so that a row that was charged is known under its new identity.
    perform credits.ensure_trigger(v_source, p_table, v_carry_name, 'after update',
      format('for each row when (old.%1$I is distinct from new.%1$I or old.%2$I is distinct from new.%2$I) execute function credits.carry_row(%3$L)',
        p_id_column, p_user_column, v_source));
  end if;

  if p_status_column is not null and v_class.relkind = 'p' then
    -- An update that moves a row to another partition inserts it there, and fires no update trigger.
    perform credits.ensure_trigger(v_source, p_table, v_insert_name, 'after insert', format('for each row when (%s) %s', v_new_reached, v_charge));
  else
    -- An insert that names a partition fires the statement triggers of that partition only.
    for v_member in select t.relid from pg_partition_tree(p_table) t union select p_table order by 1 loop
      perform credits.ensure_trigger(v_source, v_member, v_insert_name, 'after insert',
        'referencing new table as new_rows for each statement ' || v_charge);
    end loop;
  end if;

  return credits.outcome('ok', jsonb_build_object('source', v_source, 'table', p_table::text, 'action_type', p_action_type,
    'settings', (select a.settings from credits.charge_attachments a where a.source = v_source),
    'triggers', (select array(select jsonb_object_keys(a.triggers) order by 1) from credits.charge_attachments a where a.source = v_source)));
end
$$;

comment on function credits.attach_charge(regclass, text, name, name, numeric, name, integer, name, text, text, text, boolean) is
  'Charges the rows of an application''s table from now on: on insert, or, given a status column and value, when a row is inserted with or first '
  'updated to that value. The quantity is fixed (p_quantity) or, whatever that says, a column''s, divided by p_quantity_per_unit and rounded up '
  'where that is given; with a status, a row whose quantity is null or 0 waits until it has one. p_user_issuer: the user column holds another id, '
  'and user_id_for(issuer, value) is the user. p_is_call: the quantity column holds the seconds of a call, whose minutes count into '
  'total_minutes_used; needs a uuid id, an integer column and p_quantity_per_unit 60. The source (default schema.table) and the id are the row''s '
  'identity, and each is charged once, so ids must not be used again. Call it again to change the settings, all of which it sets anew, or to cover '
  'new partitions (verify_attachments() names them). Rows that are there already are not charged. '
  'Writes a trigger function for the source, credits.charge_rows_… . Runs with the rights of its caller, who must own '
  'the table. Locks the table while triggers change. Returns code ok, source, table, action_type, settings (as they hold now) and triggers (their '
  'names). Raises UC001 for what cannot be attached and why, UC302 for a source that stands for another table or action, UC402 for somebody else''s '
  'table.';

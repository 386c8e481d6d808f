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
  p_user_issuer text default null
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
  v_name text;
  v_settings text;
  v_reached text;
  v_member regclass;
begin
  select c.* into v_class from pg_class c where c.oid = p_table;
  perform credits.check_argument(v_class.relkind in ('r', 'p') and v_class.relpersistence = 'p',
    'p_table', 'must be an ordinary or a partitioned table');
  perform credits.check_argument(v_class.relnamespace <> 'credits'::regnamespace, 'p_table', 'is one of the engine''s own');
  perform credits.check_argument(not v_class.relispartition, 'p_table', 'is a partition; attach the table that it belongs to');
  perform credits.check_argument(v_class.relkind = 'p' or not exists (
    select from pg_inherits i where p_table in (i.inhparent, i.inhrelid)), 'p_table', 'must not inherit or be inherited from');
  perform credits.check_argument(not exists (
    select from pg_partition_tree(p_table) t join pg_class c on c.oid = t.relid and c.relkind = 'f'),
    'p_table', 'must not have foreign tables as partitions');

  perform credits.check_argument(exists (select from credits.credit_costs c where c.action_type = p_action_type),
    'p_action_type', 'there is no price for this action; set_cost() makes one');
  perform credits.check_column(p_table, p_user_column, 'p_user_column',
    case when p_user_issuer is null then array['uuid'] else c_ids end);
  perform credits.check_column(p_table, p_id_column, 'p_id_column', c_ids);
  -- A partitioned table can only promise uniqueness together with its partition key.
  perform credits.check_argument(exists (
    select
    from pg_index x
    join pg_attribute a on a.attrelid = x.indrelid and a.attnum = any (x.indkey)
    where x.indrelid = p_table and x.indisunique and x.indisvalid and x.indpred is null and a.attname = p_id_column
      and (x.indnkeyatts = 1 or v_class.relkind = 'p')),
    'p_id_column', 'must be unique, as it tells the rows apart');
  perform credits.check_amount('p_quantity', p_quantity);
  perform credits.check_argument(p_quantity_column is not null or p_quantity_per_unit is null, 'p_quantity_per_unit', 'needs a quantity column');
  perform credits.check_argument(coalesce(p_quantity_per_unit > 0, true), 'p_quantity_per_unit', 'must be greater than zero');
  if p_quantity_column is not null then
    perform credits.check_column(p_table, p_quantity_column, 'p_quantity_column', array['int2', 'int4', 'int8', 'numeric'], p_must_be_set => false);
  end if;
  perform credits.check_argument((p_status_column is null) = (p_status_value is null),
    'p_status_value', 'status column and status value go together');
  if p_status_column is not null then
    perform credits.check_column(p_table, p_status_column, 'p_status_column', array['text', 'varchar', 'enum'], p_must_be_set => false);
  end if;
  v_source := coalesce(p_source, format('%s.%s', v_class.relnamespace::regnamespace, v_class.relname));
  perform credits.check_argument(length(v_source) between 1 and 255 and v_source <> 'caller', 'p_source', 'must have 1 to 255 characters');

  perform credits.register_attachment(v_source, p_table, p_action_type);
  v_name := format('%s_%s', left(p_action_type, 30), left(encode(sha256(convert_to(v_source, 'UTF8')), 'hex'), 8));
  v_settings := quote_literal(jsonb_strip_nulls(jsonb_build_object(
    'action_type', p_action_type, 'source', v_source, 'user_column', p_user_column, 'user_issuer', p_user_issuer, 'id_column', p_id_column,
    'quantity', p_quantity, 'quantity_column', p_quantity_column, 'quantity_per_unit', p_quantity_per_unit,
    'status_column', p_status_column, 'status_value', p_status_value)));

  -- An insert that names a partition fires the statement triggers of that partition only.
  for v_member in select t.relid from pg_partition_tree(p_table) t union select p_table order by 1 loop
    perform credits.ensure_trigger(v_source, v_member, 'credits_charge_insert_' || v_name, 'after insert',
      format('referencing new table as new_rows for each statement execute function credits.charge_rows(%s)', v_settings));
  end loop;
  if p_status_column is not null then
    v_reached := format('%%1$s.%I = %L', p_status_column, replace(p_status_value, '%', '%%'))
      || case when p_quantity_column is not null then format(' and %%1$s.%I > 0', p_quantity_column) else '' end;
    perform credits.ensure_trigger(v_source, p_table, 'credits_charge_update_' || v_name, 'after update',
      format('for each row when (%s and (%s) is not true) execute function credits.charge_rows(%s)',
        format(v_reached, 'new'), format(v_reached, 'old'), v_settings));
    -- Fires before the charge (triggers fire in the order of their names), so that a row that was charged is known under its new identity.
    perform credits.ensure_trigger(v_source, p_table, 'credits_carry_' || v_name, 'after update',
      format('for each row when (old.%1$I is distinct from new.%1$I or old.%2$I is distinct from new.%2$I) '
        'execute function credits.carry_row(%3$s)', p_id_column, p_user_column, v_settings));
  end if;

  return credits.outcome('ok', jsonb_build_object('source', v_source, 'table', p_table::text, 'action_type', p_action_type,
    'triggers', (
      select jsonb_agg(n.name order by n.name)
      from credits.charge_attachments a
      cross join jsonb_object_keys(a.triggers) n (name)
      where a.source = v_source)));
end
$$;

comment on function credits.attach_charge(regclass, text, name, name, numeric, name, integer, name, text, text, text) is
  'Charges the rows of an application''s table from now on: on insert, or, given a status column and value, when a row is inserted with or '
  'first updated to that value. The quantity is fixed or a column''s, divided by p_quantity_per_unit and rounded up where that is given; with a '
  'status, a row whose quantity is null or 0 waits until it has one. p_user_issuer: the user column holds another id, user_id_for(issuer, '
  'value) is the user. The source (default schema.table) and the id are the row''s identity; each is charged once. Call it again to change '
  'the settings or to cover new partitions. Runs with the caller''s rights, who must own the table. Locks the table while triggers change. '
  'Raises UC001 for what cannot be attached and why, UC302 for a source that stands for another table or action.';

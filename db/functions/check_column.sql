create or replace function credits.check_column(
  p_table regclass,
  p_column name,
  p_argument text,
  p_types text[],
  p_must_be_set boolean default true
)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_column record;
begin
  select a.attnotnull, t.typname, t.typtype, t.typnamespace = 'pg_catalog'::regnamespace as is_built_in
  into v_column
  from pg_attribute a
  join pg_type t on t.oid = a.atttypid
  where a.attrelid = p_table and a.attname = p_column and a.attnum > 0 and not a.attisdropped;
  perform credits.check_argument(found, p_argument, 'there is no such column');
  perform credits.check_argument(
    (v_column.is_built_in and v_column.typname = any (p_types)) or (v_column.typtype = 'e' and 'enum' = any (p_types)),
    p_argument, 'must be of type ' || array_to_string(p_types, ', '));
  perform credits.check_argument(v_column.attnotnull or not p_must_be_set, p_argument, 'must be declared not null');
end
$$;

comment on function credits.check_column(regclass, name, text, text[], boolean) is
  'Internal. Raises UC001 unless the table has such a column, of one of the built-in types (or an enum, where allowed), not null where asked.';

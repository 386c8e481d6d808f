create or replace function credits.check_row_types(
  p_relation oid,
  variadic p_columns text[]
)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  if exists (
    select
    from pg_attribute a
    join pg_type t on t.oid = a.atttypid
    where a.attrelid = p_relation and a.attname = any (p_columns) and not a.attisdropped
      and t.typnamespace <> 'pg_catalog'::regnamespace and t.typtype <> 'e'
  ) or exists (
    select
    from pg_attribute a
    join pg_cast c on c.castsource = a.atttypid
    join pg_type t on t.oid = a.atttypid
    where a.attrelid = p_relation and a.attname = any (p_columns) and not a.attisdropped
      and t.typtype = 'e'
  ) then
    perform credits.fail('UC303', 'a column that the charge reads is not of a built-in type',
      jsonb_build_object('code', 'foreign_type', 'table', p_relation::regclass, 'columns', array_remove(p_columns, null)));
  end if;
end
$$;

comment on function credits.check_row_types(oid, text[]) is
  'Internal. Every charging trigger calls this before it reads a row: it runs with the engine''s rights, and converting a type of somebody '
  'else''s could run somebody else''s code. Raises UC303.';

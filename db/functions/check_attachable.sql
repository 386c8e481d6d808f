create or replace function credits.check_attachable(p_table regclass)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_class pg_class;
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
  perform credits.check_argument(not exists (
    select from pg_partition_tree(p_table) t join credits.charge_attachments a on a.relation = t.relid and t.relid <> p_table),
    'p_table', 'has a partition that is attached by itself; detach that first');
end
$$;

comment on function credits.check_attachable(regclass) is
  'Internal. Raises UC001 unless triggers on the table see all its rows: it is an ordinary or a partitioned table, without inheritance or foreign partitions.';

create or replace function credits.verify_attachments()
returns table (
  relation text,
  trigger_name text,
  problem text
)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return query
    with expected as (
      select a.source, a.relation as parent, m.relid as member, n.name, n.signature
      from credits.charge_attachments a
      cross join lateral jsonb_each_text(a.triggers) n (name, signature)
      cross join lateral (select t.relid from pg_partition_tree(a.relation) t union select a.relation) m
    ), checked as (
      select
        e.*,
        case
          when c.oid is null then format('the table is gone: detach_charge(p_source => %L)', e.source)
          when t.oid is null then 'missing'
          when t.tgenabled = 'D' then 'disabled'
          when t.tgenabled <> 'O' then 'enabled in another mode than usual'
          when credits.trigger_signature(t.oid) is distinct from e.signature then 'replaced'
        end as found_problem
      from expected e
      left join pg_class c on c.oid = e.member
      left join pg_trigger t on t.tgrelid = e.member and t.tgname = e.name
    )
    select c.member::regclass::text, c.name, c.found_problem
    from checked c
    where c.found_problem is not null
    union all
    select a.relation::text, null, format('has no column %I any more: attach it again', n.name)
    from credits.charge_attachments a
    join pg_class c on c.oid = a.relation
    cross join lateral jsonb_each_text(a.settings) n (setting, name)
    where n.setting like '%\_column'
      and not exists (select from pg_attribute f where f.attrelid = a.relation and f.attname = n.name and f.attnum > 0 and not f.attisdropped)
    union all
    select t.tgrelid::regclass::text, t.tgname::text, 'belongs to no attachment, and charges nothing'
    from pg_trigger t
    join pg_proc f on f.oid = t.tgfoid and f.pronamespace = 'credits'::regnamespace
    where (f.proname in ('carry_row', 'meter_rows', 'open_accounts') or f.proname ~ '^charge_rows_[0-9a-f]{16}$')
      and not exists (select from expected e where e.member = t.tgrelid and e.name = t.tgname)
    union all
    select i.inhrelid::regclass::text, null, 'inherits from ' || i.inhparent::regclass || ', and its rows are not charged'
    from pg_inherits i
    join credits.charge_attachments a on a.relation = i.inhparent
    join pg_class c on c.oid = i.inhrelid and not c.relispartition
    order by 1, 2;
end
$$;

comment on function credits.verify_attachments() is
  'The charging triggers that are missing (also on a partition made after attach_charge), disabled, replaced or left over, tables without a column that they were attached by, and tables whose '
  'rows escape by inheritance. No row: every attached table charges. Reads only and locks nothing.';

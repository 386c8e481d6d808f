create or replace function credits.drop_charge_triggers(
  p_source text,
  p_but text[] default '{}'
)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_trigger record;
begin
  for v_trigger in
    select n.name, t.tgrelid::regclass as relation
    from credits.charge_attachments a
    cross join lateral jsonb_object_keys(a.triggers) n (name)
    left join pg_trigger t on t.tgname = n.name and t.tgparentid = 0
      and (t.tgrelid = a.relation or t.tgrelid in (select p.relid from pg_partition_tree(a.relation) p))
    where a.source = p_source and n.name <> all (p_but)
    order by t.tgrelid, n.name
  loop
    if v_trigger.relation is not null then
      execute format('drop trigger %I on %s', v_trigger.name, v_trigger.relation);
    end if;
    perform credits.register_trigger(p_source, v_trigger.name, null);
  end loop;
end
$$;

comment on function credits.drop_charge_triggers(text, text[]) is
  'Internal. Drops the charging triggers of a source, but for those named, from its table and the partitions. Runs with the rights of its '
  'caller, who must own the table; locks it.';

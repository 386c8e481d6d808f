create or replace function credits.detach_charge(
  p_table regclass,
  p_source text default null
)
returns jsonb
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_attachment credits.charge_attachments;
  v_trigger record;
  v_sources text[] := '{}';
begin
  perform credits.check_argument(p_table is not null, 'p_table', 'must not be null');
  for v_attachment in
    select a.*
    from credits.charge_attachments a
    where a.relation = p_table and a.source = coalesce(p_source, a.source)
    order by a.source
  loop
    for v_trigger in
      select t.tgname, t.tgrelid::regclass as relation
      from pg_trigger t
      where v_attachment.triggers ? t.tgname::text and t.tgparentid = 0
        and t.tgrelid in (select p.relid from pg_partition_tree(p_table) p union select p_table)
      order by t.tgrelid, t.tgname
    loop
      execute format('drop trigger %I on %s', v_trigger.tgname, v_trigger.relation);
    end loop;
    perform credits.unregister_attachment(v_attachment.source);
    v_sources := v_sources || v_attachment.source;
  end loop;
  if v_sources = '{}' then
    return credits.outcome('not_found', jsonb_build_object('table', p_table::text, 'source', p_source));
  end if;
  return credits.outcome('ok', jsonb_build_object('table', p_table::text, 'sources', v_sources));
end
$$;

comment on function credits.detach_charge(regclass, text) is
  'Stops charging the rows of a table (for one source, or for all). What was charged stays charged, also if the table is attached under the '
  'same source again. Returns code ok or not_found. Runs with the caller''s rights, who must own the table; locks it. Raises UC001.';

create or replace function credits.detach_charge(
  p_table regclass default null,
  p_source text default null
)
returns jsonb
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_source text;
  v_sources text[] := '{}';
begin
  perform credits.check_argument(num_nonnulls(p_table, p_source) > 0, 'p_table', 'a table or a source must be given');
  for v_source in
    select a.source
    from credits.charge_attachments a
    where a.relation = coalesce(p_table, a.relation) and a.source = coalesce(p_source, a.source)
      and not a.settings ? 'opens_accounts'
    order by a.source
  loop
    perform credits.drop_charge_triggers(v_source);
    perform credits.unregister_attachment(v_source);
    v_sources := v_sources || v_source;
  end loop;
  if v_sources = '{}' then
    return credits.outcome('not_found', jsonb_build_object('table', p_table::text, 'source', p_source));
  end if;
  return credits.outcome('ok', jsonb_build_object('table', p_table::text, 'sources', v_sources));
end
$$;

comment on function credits.detach_charge(regclass, text) is
  'Stops charging the rows of a table (for one source, or for all); for a table that is gone, name its source alone. What was charged stays charged, '
  'also if the table is attached under the same source again. Returns code ok (table, sources) or not_found (table, source). Runs with the rights of '
  'its caller, who must own the table; locks it. Raises UC001, and UC402 for somebody else''s table.';

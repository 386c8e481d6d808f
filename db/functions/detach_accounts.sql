create or replace function credits.detach_accounts(p_table regclass)
returns jsonb
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_source text;
begin
  perform credits.check_argument(p_table is not null, 'p_table', 'must not be null');
  select a.source into v_source from credits.charge_attachments a where a.relation = p_table and a.settings ? 'opens_accounts';
  if not found then
    return credits.outcome('not_found', jsonb_build_object('table', p_table::text));
  end if;
  perform credits.drop_charge_triggers(v_source);
  perform credits.unregister_attachment(v_source);
  return credits.outcome('ok', jsonb_build_object('table', p_table::text, 'source', v_source));
end
$$;

comment on function credits.detach_accounts(regclass) is
  'Stops opening accounts for the rows of a table; accounts that are open stay. Returns code ok or not_found. Runs with the rights of its caller, who must own the '
  'table; locks it. Raises UC001, and UC402 for somebody else''s table.';

create or replace function credits.unregister_attachment(p_source text)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_function regprocedure := to_regprocedure(format('credits.%s()', credits.charge_function_of(p_source)));
begin
  perform credits.check_table_owner(a.relation) from credits.charge_attachments a where a.source = p_source;
  delete from credits.charge_attachments a where a.source = p_source;
  -- The trigger of a partition that was detached from its table keeps it; it charges nothing.
  if v_function is not null and not exists (select from pg_trigger t where t.tgfoid = v_function) then
    execute format('drop function %s', v_function);
  end if;
end
$$;

comment on function credits.unregister_attachment(text) is
  'Internal. Forgets that a source''s table is charged. Raises UC402 if the session''s user does not own the table.';

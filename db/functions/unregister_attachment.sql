create or replace function credits.unregister_attachment(p_source text)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform credits.check_table_owner(a.relation) from credits.charge_attachments a where a.source = p_source;
  delete from credits.charge_attachments a where a.source = p_source;
end
$$;

comment on function credits.unregister_attachment(text) is
  'Internal. Forgets that a source''s table is charged. Raises UC402 if the session''s user does not own the table.';

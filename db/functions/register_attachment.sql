create or replace function credits.register_attachment(
  p_source text,
  p_relation regclass,
  p_action_type text,
  p_settings jsonb
)
returns text
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_existing credits.charge_attachments;
begin
  perform credits.check_argument(exists (select from pg_class c where c.oid = p_relation), 'p_relation', 'there is no such table');
  perform credits.check_argument(not p_settings ? 'reference_table', 'p_settings', 'reference tables are the migration''s');
  perform credits.check_table_owner(p_relation);
  if exists (
    select from credits.charge_attachments a
    where a.relation = p_relation and a.action_type = p_action_type and a.source <> p_source
  ) then
    perform credits.fail('UC302', 'the table is attached for this action already, under another source',
      jsonb_build_object('code', 'attached_already', 'table', p_relation, 'action_type', p_action_type));
  end if;
  insert into credits.charge_attachments (source, relation, action_type, settings)
  values (p_source, p_relation, p_action_type, p_settings)
  on conflict (source) do nothing;
  select a.* into v_existing from credits.charge_attachments a where a.source = p_source for update;
  if v_existing.relation <> p_relation or v_existing.action_type <> p_action_type
    or v_existing.settings ? 'elapsed_column' <> p_settings ? 'elapsed_column'
  then
    perform credits.fail('UC302', 'the source is attached otherwise already; detach it, or choose another source',
      jsonb_build_object('code', 'source_taken', 'source', p_source, 'table', v_existing.relation, 'action_type', v_existing.action_type));
  end if;
  update credits.charge_attachments a set settings = p_settings where a.source = p_source;
  return case when p_settings ? 'quantity' then credits.write_charge_function(p_source) end;
end
$$;

comment on function credits.register_attachment(text, regclass, text, jsonb) is
  'Internal. Notes that a table''s rows are charged under a source, and how. Returns the name of the trigger function that it wrote for that; null where rows are charged '
  'otherwise. Raises UC302 if the source stands for something else, or the '
  'table is attached for the action under another one; UC402 if the session''s user does not own the table. Locks the attachment''s row.';

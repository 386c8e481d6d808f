create or replace function credits.register_attachment(
  p_source text,
  p_relation regclass,
  p_action_type text
)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_existing credits.charge_attachments;
begin
  insert into credits.charge_attachments (source, relation, action_type)
  values (p_source, p_relation, p_action_type)
  on conflict (source) do nothing;
  select a.* into v_existing from credits.charge_attachments a where a.source = p_source for update;
  if v_existing.relation <> p_relation or v_existing.action_type <> p_action_type then
    perform credits.fail('UC302', 'the source is attached otherwise already; detach it, or choose another source',
      jsonb_build_object('code', 'source_taken', 'source', p_source, 'table', v_existing.relation, 'action_type', v_existing.action_type));
  end if;
end
$$;

comment on function credits.register_attachment(text, regclass, text) is
  'Internal. Notes that a table''s rows are charged under a source. Raises UC302 if the source stands for something else.';

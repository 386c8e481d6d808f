create or replace function credits.register_trigger(
  p_source text,
  p_name text,
  p_signature text
)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  update credits.charge_attachments a
  set triggers = a.triggers || jsonb_build_object(p_name, p_signature)
  where a.source = p_source and a.triggers ->> p_name is distinct from p_signature;
end
$$;

comment on function credits.register_trigger(text, text, text) is
  'Internal. Notes how a charging trigger is defined, for verify_attachments().';

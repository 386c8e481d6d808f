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
  perform credits.check_table_owner(a.relation) from credits.charge_attachments a where a.source = p_source;
  update credits.charge_attachments a
  set triggers = case
      when p_signature is null then a.triggers - p_name
      else a.triggers || jsonb_build_object(p_name, p_signature)
    end
  where a.source = p_source and a.triggers ->> p_name is distinct from p_signature;
end
$$;

comment on function credits.register_trigger(text, text, text) is
  'Internal. Notes how a charging trigger is defined, for verify_attachments(); without signature, that it is gone. Raises UC402 if the '
  'session''s user does not own the table.';

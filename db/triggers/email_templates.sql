do $$
begin
  perform credits.ensure_trigger(a.source, a.relation, 'credits_charge_template_created', 'after insert',
    'referencing new table as new_rows for each statement execute function credits.handle_email_template_created()')
  from credits.charge_attachments a
  join pg_catalog.pg_class c on c.oid = a.relation
  where a.source = 'public.email_templates' and a.settings ? 'reference_table';
end
$$;

do $$
begin
  if exists (
    select from credits.charge_attachments a where a.source = 'public.email_templates' and a.triggers ? 'credits_charge_template_created')
  then
    perform credits.ensure_trigger('public.email_templates', 'public.email_templates', 'credits_charge_template_created', 'after insert',
      'referencing new table as new_rows for each statement execute function credits.handle_email_template_created()');
  end if;
end
$$;

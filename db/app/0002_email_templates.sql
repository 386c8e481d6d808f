do $$
begin
  if to_regclass('public.email_templates') is null then
    create table public.email_templates (
      id uuid not null default gen_random_uuid(),
      user_id uuid not null,
      name text not null,
      created_at timestamptz not null default now(),
      constraint email_templates_pkey primary key (id)
    );
    comment on table public.email_templates is 'E-mail templates. Inserting one charges generate_template.';
    insert into credits.charge_attachments (source, relation, action_type, settings, triggers)
    values ('public.email_templates', 'public.email_templates', 'generate_template', '{"reference_table": true}', '{"credits_charge_template_created": ""}');
  else
    raise notice using message = 'public.email_templates exists and was left alone. To charge its rows: '
      'select credits.attach_charge(''public.email_templates'', ''generate_template'');';
  end if;
end
$$;

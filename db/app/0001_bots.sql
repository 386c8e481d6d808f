do $$
begin
  if to_regclass('public.bots') is null then
    create table public.bots (
      id uuid not null default gen_random_uuid(),
      user_id uuid not null,
      name text not null,
      created_at timestamptz not null default now(),
      constraint bots_pkey primary key (id)
    );
    comment on table public.bots is 'Agents. Inserting one charges create_agent.';
    insert into credits.charge_attachments (source, relation, action_type, settings, triggers)
    values ('public.bots', 'public.bots', 'create_agent', '{"reference_table": true}', '{"credits_charge_agent_created": ""}');
  else
    raise notice using message = 'public.bots exists and was left alone. To charge its rows: '
      'select credits.attach_charge(''public.bots'', ''create_agent'');';
  end if;
end
$$;

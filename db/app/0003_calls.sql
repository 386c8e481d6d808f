do $$
begin
  if to_regclass('public.calls') is null then
    create table public.calls (
      id uuid not null default gen_random_uuid(),
      user_id uuid not null,
      status text not null default 'queued',
      duration_seconds integer,
      phone_number text,
      started_at timestamptz not null default now(),
      created_at timestamptz not null default now(),
      constraint calls_pkey primary key (id),
      constraint calls_duration_not_negative check (duration_seconds >= 0)
    );
    comment on table public.calls is 'Calls. One that becomes completed with seconds is charged agent_call_runtime per started minute.';
    insert into credits.charge_attachments (source, relation, action_type, settings, triggers)
    values ('public.calls', 'public.calls', 'agent_call_runtime', '{"reference_table": true}',
      '{"credits_charge_call_inserted": "", "credits_charge_call_updated": "", "credits_carry_call": ""}');
  else
    raise notice using message = 'public.calls exists and was left alone. To charge its rows: '
      'select credits.attach_charge(''public.calls'', ''agent_call_runtime'', p_quantity_column => ''duration_seconds'', '
      'p_quantity_per_unit => 60, p_status_column => ''status'', p_status_value => ''completed'', p_is_call => true);';
  end if;
end
$$;

-- Only where our own public.bots is attached: a table that was there before is its application's, and detach_charge() is final.
do $$
begin
  if exists (select from credits.charge_attachments a where a.source = 'public.bots' and a.triggers ? 'credits_charge_agent_created') then
    perform credits.ensure_trigger('public.bots', 'public.bots', 'credits_charge_agent_created', 'after insert',
      'referencing new table as new_rows for each statement execute function credits.handle_agent_created()');
  end if;
end
$$;

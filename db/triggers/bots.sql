-- Only the table that our script made, wherever it is now: one that was there before is its application's, and detach_charge() is final.
do $$
begin
  perform credits.ensure_trigger(a.source, a.relation, 'credits_charge_agent_created', 'after insert',
    'referencing new table as new_rows for each statement execute function credits.handle_agent_created()')
  from credits.charge_attachments a
  join pg_catalog.pg_class c on c.oid = a.relation
  where a.source = 'public.bots' and a.settings ? 'reference_table';
end
$$;

do $$
declare
  v_relation regclass;
begin
  select a.relation into v_relation
  from credits.charge_attachments a
  join pg_catalog.pg_class c on c.oid = a.relation
  where a.source = 'public.calls' and a.settings ? 'reference_table';
  if not found then
    return;
  end if;
  perform credits.ensure_trigger('public.calls', v_relation, 'credits_charge_call_inserted', 'after insert',
    'referencing new table as new_rows for each statement execute function credits.handle_call_completed()');
  perform credits.ensure_trigger('public.calls', v_relation, 'credits_charge_call_updated', 'after update',
    'for each row when (new.status = ''completed'' and new.duration_seconds > 0 '
    'and (old.status = ''completed'' and old.duration_seconds > 0) is not true) execute function credits.handle_call_completed()');
  -- Named to fire before the charge, so that a call that was charged is known under its new identity.
  perform credits.ensure_trigger('public.calls', v_relation, 'credits_carry_call', 'after update',
    'for each row when (old.id is distinct from new.id or old.user_id is distinct from new.user_id) execute function credits.carry_call()');
end
$$;

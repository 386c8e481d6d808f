create or replace function credits.attachment_of(
  p_source text,
  p_relation regclass,
  p_trigger_name name
)
returns credits.charge_attachments
language plpgsql
stable
as $$
declare
  v_attachment credits.charge_attachments;
begin
  select a.* into v_attachment
  from credits.charge_attachments a
  -- Without a transition table of that name, new_rows would be whatever the session put into its temporary schema.
  join pg_trigger t on t.tgrelid = p_relation and t.tgname = p_trigger_name and ((t.tgtype & 1) = 1 or t.tgnewtable = 'new_rows')
  where a.source = p_source and a.triggers ? p_trigger_name::text
    and (a.relation = p_relation or a.relation in (select p.relid from pg_partition_ancestors(p_relation) p));
  -- A transaction that began before the table was attached cannot see how.
  if v_attachment.source is null and current_setting('transaction_isolation') <> 'read committed'
    and not exists (select from pg_trigger t where t.tgrelid = p_relation and t.tgname = p_trigger_name)
  then
    raise exception using errcode = '40001', message = 'the table was attached after this transaction began',
      detail = jsonb_build_object('code', 'serialization_failure', 'table', p_relation, 'source', p_source)::text;
  end if;
  return v_attachment;
end
$$;

comment on function credits.attachment_of(text, regclass, name) is
  'Internal. The attachment that a charging trigger belongs to; null for a trigger that attach_charge() did not make for this table, or that '
  'is left on a partition that was detached. Such a trigger charges nothing, and verify_attachments() reports it. Raises 40001 where it was made after '
  'the transaction began.';

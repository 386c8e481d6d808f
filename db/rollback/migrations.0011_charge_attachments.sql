do $$
begin
  if exists (select from credits.charge_attachments) and current_setting('credits.force_rollback', true) is distinct from 'on' then
    raise exception using errcode = 'UC390', message = 'tables are attached to be charged; detach_charge() them first';
  end if;
end
$$;

drop table credits.charge_attachments cascade;

do $$
begin
  if (exists (select from credits.webhook_endpoints) or exists (select from credits.webhook_deliveries))
    and current_setting('credits.force_rollback', true) is distinct from 'on'
  then
    raise exception using errcode = 'UC390', message = 'credits.webhook_endpoints or credits.webhook_deliveries has rows, which would be lost';
  end if;
end
$$;

drop table credits.webhook_deliveries cascade;
drop table credits.webhook_endpoints cascade;

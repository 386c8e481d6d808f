do $$
begin
  if (exists (select from credits.api_keys) or exists (select from credits.data_protection_keys))
    and current_setting('credits.force_rollback', true) is distinct from 'on'
  then
    raise exception using errcode = 'UC390', message = 'credits.api_keys or credits.data_protection_keys has rows, which would be lost';
  end if;
end
$$;

drop table credits.api_keys cascade;
drop table credits.data_protection_keys cascade;

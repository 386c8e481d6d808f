do $$
begin
  if exists (select from credits.charge_keys) and current_setting('credits.force_rollback', true) is distinct from 'on' then
    raise exception using errcode = 'UC390', message = 'credits.charge_keys has rows, which would be lost';
  end if;
end
$$;

drop table credits.charge_keys cascade;

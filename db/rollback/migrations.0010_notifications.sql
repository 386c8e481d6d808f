do $$
begin
  if exists (select from credits.notifications) and current_setting('credits.force_rollback', true) is distinct from 'on' then
    raise exception using errcode = 'UC390', message = 'credits.notifications has rows, which would be lost';
  end if;
end
$$;

drop table credits.notifications cascade;

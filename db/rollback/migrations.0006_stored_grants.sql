do $$
begin
  if exists (select from credits.stored_grants) and current_setting('credits.force_rollback', true) is distinct from 'on' then
    raise exception using errcode = 'UC390', message = 'credits.stored_grants has rows, which would be lost';
  end if;
end
$$;

drop table credits.stored_grants cascade;

do $$
begin
  if exists (select from credits.imported_usage) and current_setting('credits.force_rollback', true) is distinct from 'on' then
    raise exception using errcode = 'UC390', message = 'credits.imported_usage has rows, which would be lost';
  end if;
end
$$;

drop table credits.imported_usage cascade;

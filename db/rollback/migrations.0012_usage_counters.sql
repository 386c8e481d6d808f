do $$
begin
  if exists (select from credits.usage_counters) and current_setting('credits.force_rollback', true) is distinct from 'on' then
    raise exception using errcode = 'UC390', message = 'credits.usage_counters has rows, which would be lost';
  end if;
end
$$;

drop table credits.usage_counters cascade;

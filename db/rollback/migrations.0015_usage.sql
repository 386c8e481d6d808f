do $$
begin
  if exists (select from credits.usage_attempts) and current_setting('credits.force_rollback', true) is distinct from 'on' then
    raise exception using errcode = 'UC390', message = 'credits.usage_attempts has rows, which would be lost';
  end if;
end
$$;

-- The roll-ups can be made again from the ledger.
drop table credits.usage_rollups cascade;
drop table credits.usage_daily cascade;
drop table credits.usage_attempts cascade;

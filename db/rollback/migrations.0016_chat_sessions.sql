do $$
begin
  if exists (select from credits.chat_sessions) and current_setting('credits.force_rollback', true) is distinct from 'on' then
    raise exception using errcode = 'UC390', message = 'credits.chat_sessions has rows, which would be lost';
  end if;
end
$$;

drop table credits.chat_sessions cascade;

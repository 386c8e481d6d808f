do $$
begin
  if exists (select from credits.uncharged_rows) and current_setting('credits.force_rollback', true) is distinct from 'on' then
    raise exception using errcode = 'UC390', message = 'credits.uncharged_rows has rows, which would be lost';
  end if;
end
$$;

drop table credits.uncharged_rows cascade;

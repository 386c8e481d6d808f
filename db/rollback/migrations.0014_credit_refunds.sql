do $$
begin
  if exists (select from credits.credit_refunds) and current_setting('credits.force_rollback', true) is distinct from 'on' then
    raise exception using errcode = 'UC390', message = 'credits.credit_refunds has rows, which would be lost';
  end if;
end
$$;

drop table credits.credit_refunds cascade;

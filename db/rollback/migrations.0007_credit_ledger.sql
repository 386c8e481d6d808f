do $$
begin
  if exists (select from credits.credit_ledger) and current_setting('credits.force_rollback', true) is distinct from 'on' then
    raise exception using errcode = 'UC390', message = 'credits.credit_ledger has rows, which would be lost';
  end if;
end
$$;

drop table credits.credit_ledger cascade;

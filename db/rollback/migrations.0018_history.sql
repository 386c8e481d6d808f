do $$
begin
  if (exists (select from credits.imported_usage) or exists (select from credits.credit_ledger_archive))
    and current_setting('credits.force_rollback', true) is distinct from 'on'
  then
    raise exception using errcode = 'UC390', message = 'credits.imported_usage or credits.credit_ledger_archive has rows, which would be lost';
  end if;
end
$$;

drop table credits.imported_usage cascade;
drop table credits.credit_ledger_archive cascade;

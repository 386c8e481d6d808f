do $$
begin
  if (exists (select from credits.credit_purchases) or exists (select from credits.credit_packages))
    and current_setting('credits.force_rollback', true) is distinct from 'on'
  then
    raise exception using errcode = 'UC390', message = 'credits.credit_purchases or credits.credit_packages has rows, which would be lost';
  end if;
end
$$;

drop table credits.credit_purchase_refunds cascade;
drop table credits.credit_purchases cascade;
drop table credits.credit_packages cascade;

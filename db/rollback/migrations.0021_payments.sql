do $$
begin
  if (exists (select from credits.payment_events) or exists (select from credits.payments) or exists (select from credits.payment_methods)
      or exists (select from credits.top_ups))
    and current_setting('credits.force_rollback', true) is distinct from 'on'
  then
    raise exception using errcode = 'UC390',
      message = 'credits.payment_events, credits.payments, credits.payment_methods or credits.top_ups has rows, which would be lost';
  end if;
end
$$;

drop table credits.top_ups cascade;
drop table credits.payment_methods cascade;
drop table credits.payment_events cascade;
drop table credits.payments cascade;

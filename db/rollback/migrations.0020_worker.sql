do $$
begin
  if exists (select from credits.alerts) and current_setting('credits.force_rollback', true) is distinct from 'on' then
    raise exception using errcode = 'UC390', message = 'credits.alerts has rows, which would be lost';
  end if;
end
$$;

drop index credits.credit_purchases_pending;
drop table credits.decline_counts cascade;
drop table credits.alerts cascade;
drop table credits.worker_sweeps cascade;

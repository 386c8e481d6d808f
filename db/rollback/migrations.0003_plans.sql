do $$
begin
  if exists (select from credits.plans) and current_setting('credits.force_rollback', true) is distinct from 'on' then
    raise exception using errcode = 'UC390', message = 'credits.plans has rows, which would be lost';
  end if;
end
$$;

drop table credits.plan_features cascade;
drop table credits.plan_allowances cascade;
drop table credits.plans cascade;

do $$
begin
  if exists (select from credits.accounts) and current_setting('credits.force_rollback', true) is distinct from 'on' then
    raise exception using errcode = 'UC390', message = 'accounts are on the plans, which would be lost';
  end if;
end
$$;

delete from credits.plan_features where plan_id in ('free', 'pro', 'paid', 'demo');
delete from credits.plan_allowances where plan_id in ('free', 'pro', 'paid', 'demo');

-- A plan that is in use stays: its accounts refer to it.
delete from credits.plans p
where p.plan_id in ('free', 'pro', 'paid', 'demo')
  and not exists (select from credits.accounts a where a.plan_id = p.plan_id);

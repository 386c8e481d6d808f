insert into credits.plans (plan_id, plan_name)
values
  ('free', 'Free'),
  ('pro', 'Pro'),
  ('paid', 'Paid'),
  ('demo', 'Demo')
on conflict (plan_id) do nothing;

insert into credits.plan_allowances (plan_id, credit_type, amount, period)
values
  ('free', 'credits', 100, 'month'),
  ('free', 'chat_messages', 20, 'once'),
  ('pro', 'credits', 5000, 'month')
on conflict (plan_id, credit_type) do nothing;

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

insert into credits.plan_features (plan_id, action_type, is_unlimited, limit_quantity, limit_period)
values
  ('free', 'script_generation', false, 3, 'month'),
  ('free', 'voice_creation', false, 1, 'month'),
  ('free', 'video_processing', false, 2, 'month'),
  ('pro', 'script_generation', false, 100, 'month'),
  ('pro', 'voice_creation', false, 20, 'month'),
  ('pro', 'video_processing', false, 50, 'month'),
  ('pro', 'chat_message', true, null, null),
  ('paid', 'chat_message', true, null, null),
  ('demo', 'chat_message', true, null, null)
on conflict (plan_id, action_type) do nothing;

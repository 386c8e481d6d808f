insert into credits.credit_packages (package_id, package_name, credits, price_minor, currency, features, sort_order)
values
  ('starter', 'Starter', 100, 500, 'USD', '["100 credits", "They never expire"]', 10),
  ('growth', 'Growth', 500, 2000, 'USD', '["500 credits", "They never expire", "20 % less per credit"]', 20),
  ('scale', 'Scale', 2500, 7500, 'USD', '["2,500 credits", "They never expire", "40 % less per credit", "Priority support"]', 30)
on conflict (package_id) do nothing;

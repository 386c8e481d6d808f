create or replace function credits.set_package(
  p_package_id text,
  p_credits numeric default null,
  p_price_minor bigint default null,
  p_currency text default null,
  p_package_name text default null,
  p_features jsonb default null,
  p_is_active boolean default null,
  p_sort_order integer default null
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_package credits.credit_packages;
begin
  perform credits.check_argument(p_package_id ~ '^[a-z][a-z0-9_.-]{0,62}$', 'p_package_id', 'must be a lower-case name');
  if p_credits is not null then
    perform credits.check_amount('p_credits', p_credits);
  end if;
  perform credits.check_argument(coalesce(p_price_minor between 1 and 1000000000000, true),
    'p_price_minor', 'must be 1 to 1000000000000 minor units');
  perform credits.check_argument(coalesce(p_currency ~ '^[A-Z]{3}$', true), 'p_currency', 'must be an ISO 4217 code, such as USD');
  perform credits.check_argument(coalesce(length(p_package_name) between 1 and 200, true), 'p_package_name', 'must have 1 to 200 characters');
  if p_features is not null then
    perform credits.check_argument(
      jsonb_typeof(p_features) = 'array' and not jsonb_path_exists(p_features, 'strict $[*] ? (@.type() != "string")', '{}', true),
      'p_features', 'must be a JSON array of texts');
    perform credits.check_argument(octet_length(p_features::text) <= 16384, 'p_features', 'must be at most 16 KB');
  end if;

  if p_credits is not null and p_price_minor is not null and p_currency is not null then
    insert into credits.credit_packages (package_id, package_name, credits, price_minor, currency)
    values (p_package_id, coalesce(p_package_name, initcap(replace(p_package_id, '_', ' '))), p_credits, p_price_minor, p_currency)
    on conflict (package_id) do nothing;
  end if;

  update credits.credit_packages k
  set credits = coalesce(p_credits, k.credits),
    price_minor = coalesce(p_price_minor, k.price_minor),
    currency = coalesce(p_currency, k.currency),
    package_name = coalesce(p_package_name, k.package_name),
    features = coalesce(p_features, k.features),
    is_active = coalesce(p_is_active, k.is_active),
    sort_order = coalesce(p_sort_order, k.sort_order)
  where k.package_id = p_package_id
  returning k.* into v_package;
  perform credits.check_argument(found, 'p_credits', 'a new package needs credits, a price and a currency');
  return credits.outcome('ok', to_jsonb(v_package) || jsonb_build_object('credits', trim_scale(v_package.credits)));
end
$$;

comment on function credits.set_package(text, numeric, bigint, text, text, jsonb, boolean, integer) is
  'Adds a package to what can be bought or changes one; what is null stays (a new one needs credits, the price in minor units and an ISO 4217 '
  'currency). p_features is a JSON array of texts. Holds for purchases that begin after the commit. Returns the row. Locks the package''s row. '
  'Raises UC001 for malformed arguments.';

create or replace function credits.set_top_up(
  p_user_id uuid,
  p_provider text,
  p_is_on boolean,
  p_threshold numeric default null,
  p_package_id text default null,
  p_monthly_cap_minor bigint default null
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_wallet credits.wallets;
  v_now timestamptz;
  v_top_up credits.top_ups;
  v_package credits.credit_packages;
begin
  perform credits.check_argument(p_user_id is not null, 'p_user_id', 'must not be null');
  perform credits.check_argument(p_is_on is not null, 'p_is_on', 'must not be null');
  perform credits.check_argument(p_provider ~ '^[a-z][a-z0-9_.-]{0,62}$', 'p_provider', 'must be a lower-case name');
  if p_threshold <> 0 then
    perform credits.check_amount('p_threshold', p_threshold);
  end if;
  perform credits.check_argument(coalesce(p_monthly_cap_minor between 1 and 1000000000000, true),
    'p_monthly_cap_minor', 'must be 1 to 1000000000000 minor units');
  v_wallet := credits.lock_wallet(p_user_id, 'credits');
  if v_wallet.user_id is null then
    return credits.outcome('unknown_account', jsonb_build_object('user_id', p_user_id));
  end if;
  v_now := greatest(credits.clock_now(), v_wallet.last_entry_at);
  select t.* into v_top_up from credits.top_ups t where t.user_id = p_user_id;
  v_top_up.user_id := p_user_id;
  v_top_up.threshold := coalesce(p_threshold, v_top_up.threshold);
  v_top_up.package_id := coalesce(p_package_id, v_top_up.package_id);
  v_top_up.monthly_cap_minor := coalesce(p_monthly_cap_minor, v_top_up.monthly_cap_minor);
  if p_is_on or num_nulls(v_top_up.threshold, v_top_up.package_id, v_top_up.monthly_cap_minor) = 0 then
    perform credits.check_argument(v_top_up.threshold is not null, 'p_threshold', 'must be given the first time');
    perform credits.check_argument(v_top_up.package_id is not null, 'p_package_id', 'must be given the first time');
    perform credits.check_argument(v_top_up.monthly_cap_minor is not null, 'p_monthly_cap_minor', 'must be given the first time');
    select k.* into v_package from credits.credit_packages k where k.package_id = v_top_up.package_id and (k.is_active or not p_is_on);
    if not found then
      return credits.outcome('not_found', jsonb_build_object('package_id', v_top_up.package_id));
    end if;
    v_top_up.currency := case when p_monthly_cap_minor is null then coalesce(v_top_up.currency, v_package.currency) else v_package.currency end;
    perform credits.check_argument(v_top_up.currency = v_package.currency or not p_is_on,
      'p_monthly_cap_minor', format('must be given again, as the package is sold for %s and the cap is in %s', v_package.currency, v_top_up.currency));
    perform credits.check_argument(v_top_up.monthly_cap_minor >= v_package.price_minor or not p_is_on,
      'p_monthly_cap_minor', format('must be at least the price of the package, %s', v_package.price_minor));
    v_wallet := credits.apply_due(v_wallet, v_now);
    insert into credits.top_ups (user_id, is_on, threshold, package_id, monthly_cap_minor, currency)
    values (p_user_id, p_is_on, v_top_up.threshold, v_top_up.package_id, v_top_up.monthly_cap_minor, v_top_up.currency)
    on conflict (user_id) do update set
      is_on = excluded.is_on,
      threshold = excluded.threshold,
      package_id = excluded.package_id,
      monthly_cap_minor = excluded.monthly_cap_minor,
      currency = excluded.currency,
      failed_at = null,
      failure_reason = null;
    v_wallet.change_no := v_wallet.change_no + 1;
    perform credits.finish_operation(v_wallet, v_now);
  end if;
  return credits.get_top_up(p_user_id, p_provider);
end
$$;

comment on function credits.set_top_up(uuid, text, boolean, numeric, text, bigint) is
  'Switches the automatic top-up of an account on or off (off until then): p_package_id is bought as soon as no more than p_threshold credits are left (0 to 1000000000), and at most '
  'p_monthly_cap_minor minor units of the package''s currency are charged so in a calendar month of the account''s time zone. What is null stays; with a package of another '
  'currency the cap must be given anew. What had stopped it is forgotten. Needs a payment method saved '
  'by an earlier purchase, and waits for one. Returns what get_top_up returns, or code unknown_account or not_found (no such package on sale). Locks the wallet row of credits. '
  'Raises UC001 for malformed arguments.';

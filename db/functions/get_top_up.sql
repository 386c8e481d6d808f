create or replace function credits.get_top_up(
  p_user_id uuid,
  p_provider text
)
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_top_up credits.top_ups;
  v_package credits.credit_packages;
  v_status text;
  v_is_saved boolean;
  v_spent bigint;
  v_account_status text;
begin
  perform credits.check_argument(p_user_id is not null, 'p_user_id', 'must not be null');
  perform credits.check_argument(p_provider is not null, 'p_provider', 'must not be null');
  select a.status into v_account_status from credits.accounts a where a.user_id = p_user_id;
  if not found then
    return credits.outcome('unknown_account', jsonb_build_object('user_id', p_user_id));
  end if;
  select t.* into v_top_up from credits.top_ups t where t.user_id = p_user_id;
  select k.* into v_package from credits.credit_packages k where k.package_id = v_top_up.package_id;
  v_is_saved := exists (select from credits.payment_methods m where m.user_id = p_user_id and m.provider = p_provider);
  v_spent := credits.top_up_spent(p_user_id, credits.clock_now(), v_top_up.currency);
  v_status := case
    when v_top_up.is_on is not true then 'off'
    when v_top_up.failed_at is not null then 'failed'
    when v_top_up.purchase_id is not null then 'in_progress'
    when v_account_status <> 'active' then 'account_suspended'
    when not v_package.is_active then 'package_not_on_sale'
    when v_package.currency <> v_top_up.currency then 'currency_changed'
    when not v_is_saved then 'needs_payment_method'
    when v_spent + v_package.price_minor > v_top_up.monthly_cap_minor then 'cap_reached'
    else 'on'
  end;
  return credits.outcome('ok', jsonb_build_object(
    'is_on', v_top_up.is_on is true,
    'status', v_status,
    'threshold', trim_scale(v_top_up.threshold),
    'package_id', v_top_up.package_id,
    'price_minor', v_package.price_minor,
    'currency', v_package.currency,
    'monthly_cap_minor', v_top_up.monthly_cap_minor,
    'spent_minor', v_spent,
    'has_payment_method', v_is_saved,
    'purchase_id', v_top_up.purchase_id,
    'failed_at', v_top_up.failed_at,
    'failure_reason', v_top_up.failure_reason));
end
$$;

comment on function credits.get_top_up(uuid, text) is
  'The automatic top-up of an account: is_on, threshold, package_id with its price_minor and currency, monthly_cap_minor, spent_minor of it this month (what is under way, or was given up '
  'and may still be charged, counts), has_payment_method (of the '
  'provider), purchase_id of the one under way, failed_at and failure_reason, and status: off, on, in_progress, failed (nothing is tried until the user sets it again or buys '
  'something), cap_reached, needs_payment_method, package_not_on_sale, currency_changed (the cap is in another one '
  'than the package: set it again) or account_suspended. Code ok or unknown_account. Locks nothing. Raises UC001 for malformed arguments.';

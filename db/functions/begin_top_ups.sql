create or replace function credits.begin_top_ups(
  p_provider text,
  p_limit integer default 100
)
returns table (
  user_id uuid,
  purchase_id uuid,
  package_name text,
  price_minor bigint,
  currency text,
  customer_reference text,
  payment_method text
)
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  c_lease constant interval := '10 minutes';
  -- Providers know a repeated request for a day; one that is repeated later could charge twice.
  c_patience constant interval := '12 hours';
  c_attempts constant integer := 5;
  v_now timestamptz := credits.clock_now();
  v_at timestamptz;
  v_wallet credits.wallets;
  v_top_up credits.top_ups;
  v_package credits.credit_packages;
  v_purchase credits.credit_purchases;
  v_method credits.payment_methods;
  v_created jsonb;
begin
  perform credits.check_argument(p_provider ~ '^[a-z][a-z0-9_.-]{0,62}$', 'p_provider', 'must be a lower-case name');
  perform credits.check_argument(p_limit between 1 and 10000, 'p_limit', 'must be 1 to 10000');
  for v_wallet in
    select w.*
    from credits.top_ups t
    join credits.wallets w on w.user_id = t.user_id and w.credit_type = 'credits'
    join credits.credit_packages k on k.package_id = t.package_id
    where t.leased_until <= v_now
      or (t.is_on and t.purchase_id is null and t.failed_at is null and w.is_active and k.is_active and k.currency = t.currency and w.balance + w.debt <= t.threshold
        and exists (select from credits.payment_methods m where m.user_id = t.user_id and m.provider = p_provider)
        and credits.top_up_spent(t.user_id, v_now, t.currency) + k.price_minor <= t.monthly_cap_minor)
    order by w.user_id
    limit p_limit
    for no key update of w skip locked
  loop
    -- As it is by now: a trigger of the application's own may have changed it since it was fetched.
    v_wallet := credits.lock_wallet(v_wallet.user_id, v_wallet.credit_type);
    v_at := greatest(v_now, v_wallet.last_entry_at);
    v_wallet := credits.apply_due(v_wallet, v_at);
    v_wallet.change_no := v_wallet.change_no + 1;
    v_wallet := credits.finish_operation(v_wallet, v_at);
    -- Read again under the lock: another worker may have begun it, or a renewal have made it needless.
    select t.* into v_top_up from credits.top_ups t where t.user_id = v_wallet.user_id;
    -- Its price stays what the cap is held against.
    select k.* into v_package from credits.credit_packages k where k.package_id = v_top_up.package_id for share;
    select m.* into v_method from credits.payment_methods m where m.user_id = v_wallet.user_id and m.provider = p_provider;
    if v_top_up.purchase_id is not null then
      continue when v_top_up.leased_until > v_now;
      select p.* into v_purchase
      from credits.credit_purchases p
      where p.user_id = v_wallet.user_id and p.purchase_id = v_top_up.purchase_id;
      if not v_top_up.is_on or not v_wallet.is_active or v_method.user_id is null or v_purchase.provider <> p_provider
        or v_top_up.attempts >= c_attempts or v_purchase.created_at < v_at - c_patience
      then
        perform credits.fail_purchase(v_wallet.user_id, v_purchase.purchase_id,
          case when v_top_up.is_on then 'the payment provider did not answer' else 'the top-up was switched off' end);
        continue;
      end if;
    else
      continue when not v_top_up.is_on or v_top_up.failed_at is not null or not v_wallet.is_active or not v_package.is_active or v_method.user_id is null
        or v_package.currency <> v_top_up.currency
        or v_wallet.balance + v_wallet.debt > v_top_up.threshold
        or credits.top_up_spent(v_wallet.user_id, v_at, v_top_up.currency) + v_package.price_minor > v_top_up.monthly_cap_minor;
      v_created := credits.create_purchase(v_wallet.user_id, v_package.package_id, p_provider);
      update credits.credit_purchases p
      set is_top_up = true
      where p.user_id = v_wallet.user_id and p.purchase_id = (v_created ->> 'purchase_id')::uuid
      returning p.* into v_purchase;
      v_top_up.attempts := 0;
    end if;

    update credits.top_ups t
    set purchase_id = v_purchase.purchase_id, leased_until = v_at + c_lease, attempts = v_top_up.attempts + 1
    where t.user_id = v_wallet.user_id;
    user_id := v_wallet.user_id;
    purchase_id := v_purchase.purchase_id;
    package_name := v_package.package_name;
    price_minor := v_purchase.price_minor;
    currency := v_purchase.currency;
    customer_reference := v_method.customer_reference;
    payment_method := v_method.payment_method;
    return next;
  end loop;
end
$$;

comment on function credits.begin_top_ups(text, integer) is
  'Begins a purchase for each account whose automatic top-up is due: switched on and not failed, no more left than its threshold, a payment method of the provider saved, nothing '
  'under way and the month''s cap not passed by it (top_up_spent, in the cap''s currency). Returns what is to be charged now; the result goes to apply_payment_event(). One that gets none within 10 minutes is '
  'returned again, for the same purchase, and fails after 5 attempts or 12 hours. Takes up to p_limit wallets that nobody has locked, so several hosts share the work without '
  'waiting. Locks their wallet rows, each before its package (FOR SHARE). Raises UC001 for malformed arguments.';

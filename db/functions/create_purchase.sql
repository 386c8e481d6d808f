create or replace function credits.create_purchase(
  p_user_id uuid,
  p_package_id text,
  p_provider text,
  p_metadata jsonb default '{}',
  p_idempotency_key text default null
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
  v_key credits.charge_keys;
  v_fingerprint text;
  v_package credits.credit_packages;
  v_purchase_id uuid := gen_random_uuid();
  v_purchase credits.credit_purchases;
  v_result jsonb;
begin
  p_metadata := coalesce(p_metadata, '{}');
  perform credits.check_argument(p_user_id is not null, 'p_user_id', 'must not be null');
  perform credits.check_argument(length(p_package_id) between 1 and 63, 'p_package_id', 'must have 1 to 63 characters');
  perform credits.check_argument(p_provider ~ '^[a-z][a-z0-9_.-]{0,62}$', 'p_provider', 'must be a lower-case name');
  perform credits.check_texts(p_metadata, p_idempotency_key);

  v_wallet := credits.lock_wallet(p_user_id, 'credits');
  if v_wallet.user_id is null then
    return credits.outcome('unknown_account', jsonb_build_object('user_id', p_user_id));
  end if;
  v_now := greatest(credits.clock_now(), v_wallet.last_entry_at);
  if p_idempotency_key is not null then
    v_fingerprint := jsonb_build_array('create_purchase', p_package_id, p_provider)::text;
    v_key := credits.find_key(p_user_id, 'credits', 'caller', p_idempotency_key, v_now);
    if v_key.key is not null then
      return credits.replay_key(v_key, v_fingerprint);
    end if;
  end if;
  if not v_wallet.is_active then
    return credits.outcome('account_suspended', jsonb_build_object('user_id', p_user_id));
  end if;
  select k.* into v_package from credits.credit_packages k where k.package_id = p_package_id and k.is_active;
  if not found then
    return credits.outcome('not_found', jsonb_build_object('package_id', p_package_id));
  end if;

  v_wallet := credits.apply_due(v_wallet, v_now);
  insert into credits.credit_purchases
    (user_id, purchase_id, package_id, credits, price_minor, currency, features, provider, created_at, metadata)
  values
    (p_user_id, v_purchase_id, p_package_id, v_package.credits, v_package.price_minor, v_package.currency, v_package.features, p_provider,
      v_now, p_metadata)
  returning * into v_purchase;
  v_wallet.change_no := v_wallet.change_no + 1;
  perform credits.finish_operation(v_wallet, v_now);
  v_result := credits.purchase_outcome(v_purchase, '{"replayed": false}');
  if p_idempotency_key is not null then
    perform credits.remember_key(p_user_id, 'credits', p_idempotency_key, 'create_purchase', v_fingerprint, null, v_result, v_now);
  end if;
  return v_result;
end
$$;

comment on function credits.create_purchase(uuid, text, text, jsonb, text) is
  'Begins the purchase of a package (p_provider: the payment provider''s lower-case name). Pending: nothing is granted before complete_purchase. The '
  'package''s credits, price, currency and features are kept as they are now. Returns code ok, unknown_account, account_suspended or not_found (no '
  'such package on sale), purchase_id, package_id, status, credits, price_minor, currency, features, provider, provider_reference, refunded_minor, '
  'refunded_credits, replayed. With an idempotency key the same request (package, provider; not the metadata) begins one purchase in 30 days and '
  'then returns the stored result. Locks the wallet row of credits. Raises UC001 for malformed arguments, UC201 for a key used for another request.';

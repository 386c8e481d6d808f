create or replace function credits.import_balance(
  p_user_id uuid,
  p_monthly numeric,
  p_purchased numeric
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_monthly numeric := coalesce(p_monthly, 0);
  v_purchased numeric := coalesce(p_purchased, 0);
  v_wallet credits.wallets;
  v_now timestamptz;
  v_result jsonb;
  v_before numeric;
  v_running numeric := 0;
  v_excess numeric := 0;
  v_missing numeric := 0;
  v_taken numeric;
  v_grant record;
  v_allocations jsonb := '[]';
  v_entry credits.credit_ledger;
begin
  perform credits.check_argument(p_user_id is not null, 'p_user_id', 'must not be null');
  perform credits.check_argument(v_monthly >= 0, 'p_monthly', 'must not be negative');
  perform credits.check_argument(v_purchased >= 0, 'p_purchased', 'must not be negative');
  if v_monthly <> 0 then
    perform credits.check_amount('p_monthly', v_monthly);
  end if;
  if v_purchased <> 0 then
    perform credits.check_amount('p_purchased', v_purchased);
  end if;
  v_wallet := credits.lock_wallet(p_user_id, 'credits');
  if v_wallet.user_id is null then
    return credits.outcome('unknown_account', jsonb_build_object('user_id', p_user_id));
  end if;
  v_now := greatest(credits.clock_now(), v_wallet.last_entry_at);
  select k.result into v_result
  from credits.charge_keys k
  where k.user_id = p_user_id and k.credit_type = 'credits' and k.source = 'import' and k.key = 'balance';
  if found then
    return v_result || '{"replayed": true}';
  end if;

  v_wallet := credits.apply_due(v_wallet, v_now);
  v_wallet := credits.flush_open_grant(v_wallet);
  v_before := v_wallet.balance;
  select coalesce(sum(g.remaining), 0) into v_running
  from credits.stored_grants g
  where g.user_id = p_user_id and g.credit_type = 'credits' and g.source = 'monthly' and g.remaining > 0;
  v_excess := greatest(v_running - v_monthly, 0);
  v_missing := greatest(v_monthly - v_running, 0);
  perform credits.check_argument(v_before + v_missing + v_purchased <= 10000000000000, 'p_purchased', 'would lift the balance above 10000000000000');

  v_entry.reference := 'import_balance';
  if v_excess > 0 then
    v_taken := v_excess;
    -- What would be spent last goes first.
    for v_grant in
      select g.grant_no, g.source, g.remaining
      from credits.stored_grants g
      where g.user_id = p_user_id and g.credit_type = 'credits' and g.source = 'monthly' and g.remaining > 0
      order by g.priority desc, g.expires_at desc, g.grant_no desc
    loop
      exit when v_taken = 0;
      v_allocations := v_allocations || jsonb_build_object('grant', v_grant.grant_no, 'source', v_grant.source,
        'amount', trim_scale(least(v_taken, v_grant.remaining)));
      update credits.stored_grants g
      set remaining = g.remaining - least(v_taken, v_grant.remaining)
      where g.user_id = p_user_id and g.credit_type = 'credits' and g.grant_no = v_grant.grant_no;
      v_taken := v_taken - least(v_taken, v_grant.remaining);
    end loop;
    v_wallet := credits.add_entry(v_wallet, v_now, 'revocation', -v_excess, null, v_allocations, v_entry);
  end if;
  if v_missing > 0 then
    v_wallet := credits.add_grant(v_wallet, v_now, v_missing, 'monthly', p_expires_at => v_wallet.next_reset_at,
      p_period_no => v_wallet.allowance_period, p_reference => 'import_balance');
  end if;
  if v_purchased > 0 then
    v_wallet := credits.add_grant(v_wallet, v_now, v_purchased, 'purchased', p_reference => 'import_balance');
  end if;
  v_wallet.next_due_at := credits.next_due_at(v_wallet);
  v_wallet.change_no := v_wallet.change_no + 1;
  v_wallet := credits.finish_operation(v_wallet, v_now);

  v_result := credits.outcome('ok', jsonb_build_object(
    'monthly', trim_scale(v_monthly),
    'purchased', trim_scale(v_purchased),
    'monthly_granted', trim_scale(v_missing),
    'monthly_revoked', trim_scale(v_excess),
    'balance_before', trim_scale(v_before),
    'balance_after', trim_scale(v_wallet.balance),
    'replayed', false));
  insert into credits.charge_keys (user_id, credit_type, source, key, function_name, result, created_at, expires_at)
  values (p_user_id, 'credits', 'import', 'balance', 'import_balance', v_result, v_now, 'infinity');
  return v_result;
end
$$;

comment on function credits.import_balance(uuid, numeric, numeric) is
  'Takes over the balance that a user had before the engine, in credits (null is 0): what is left of the running monthly credits is brought to p_monthly, by '
  'revoking what is more or granting what is missing until the next reset, and p_purchased is granted as purchased. Done once per user: any later call, also with '
  'other amounts, changes nothing and returns the first result with replayed true. What the wallet owes is paid from what is granted. Returns code ok or '
  'unknown_account, monthly, purchased, monthly_granted, monthly_revoked, balance_before, balance_after and replayed. Locks the wallet row. Raises UC001 for a '
  'negative amount, NaN and the like.';

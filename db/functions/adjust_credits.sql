create or replace function credits.adjust_credits(
  p_user_id uuid,
  p_amount numeric,
  p_reason text,
  p_idempotency_key text default null,
  p_credit_type text default 'credits'
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
  v_before numeric;
  v_drawn record;
  v_entry credits.credit_ledger;
  v_result jsonb;
begin
  perform credits.check_argument(p_user_id is not null, 'p_user_id', 'must not be null');
  perform credits.check_argument(p_amount is not null, 'p_amount', 'must not be null');
  perform credits.check_argument(p_amount <> 0, 'p_amount', 'must not be zero');
  perform credits.check_amount('p_amount', abs(p_amount));
  perform credits.check_argument(length(p_reason) between 1 and 255, 'p_reason', 'must have 1 to 255 characters');
  perform credits.check_argument(p_credit_type ~ '^[a-z][a-z0-9_]{0,62}$', 'p_credit_type', 'must be a lower-case name');
  perform credits.check_texts('{}', p_idempotency_key);
  if p_amount > 0 then
    return credits.grant_credits(p_user_id, p_amount, 'adjustment', p_reference => p_reason, p_idempotency_key => p_idempotency_key,
      p_credit_type => p_credit_type);
  end if;

  v_wallet := credits.lock_wallet(p_user_id, p_credit_type);
  if v_wallet.user_id is null then
    return credits.outcome('unknown_account', jsonb_build_object('user_id', p_user_id));
  end if;
  v_now := greatest(credits.clock_now(), v_wallet.last_entry_at);
  if p_idempotency_key is not null then
    v_fingerprint := jsonb_build_array('adjust_credits', trim_scale(p_amount), p_reason)::text;
    v_key := credits.find_key(p_user_id, p_credit_type, 'caller', p_idempotency_key, v_now);
    if v_key.key is not null then
      return credits.replay_key(v_key, v_fingerprint);
    end if;
  end if;

  v_wallet := credits.apply_due(v_wallet, v_now);
  v_before := v_wallet.balance;
  if v_wallet.balance + v_wallet.debt < -p_amount then
    perform credits.finish_unchanged(v_wallet, v_now);
    return credits.outcome('insufficient_credits', jsonb_build_object('credit_type', p_credit_type, 'required', trim_scale(-p_amount),
      'available', trim_scale(v_wallet.balance + v_wallet.debt)));
  end if;
  v_drawn := credits.draw_grants(v_wallet, -p_amount);
  v_entry.reference := p_reason;
  v_wallet := credits.add_entry(v_drawn.p_wallet, v_now, 'adjustment', p_amount, v_drawn.grant_no, v_drawn.allocations, v_entry);
  perform credits.finish_operation(v_wallet, v_now);
  v_result := credits.outcome('ok', jsonb_build_object(
    'credit_type', p_credit_type,
    'source', 'adjustment',
    'amount', trim_scale(p_amount),
    'balance_before', trim_scale(v_before),
    'balance_after', trim_scale(v_wallet.balance),
    'log_id', v_wallet.entry_no,
    'replayed', false));
  if p_idempotency_key is not null then
    perform credits.remember_key(p_user_id, p_credit_type, p_idempotency_key, 'adjust_credits', v_fingerprint, v_wallet.entry_no,
      v_result, v_now);
  end if;
  return v_result;
end
$$;

comment on function credits.adjust_credits(uuid, numeric, text, text, text) is
  'Corrects a balance by hand, for a reason that is kept as the entry''s reference: an amount above zero is granted (an entry of kind grant, source '
  'adjustment), one below zero is taken from the grants in spending order (an entry of kind adjustment), all of it or nothing. Returns what '
  'grant_credits returns, or code insufficient_credits (required, available). With an idempotency key the same request (amount, reason) adjusts once '
  'in 30 days. Locks the wallet row. Raises UC001 for malformed arguments, UC201 for a key used for another request.';

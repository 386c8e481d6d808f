create or replace function credits.grant_credits(
  p_user_id uuid,
  p_amount numeric,
  p_source text,
  p_expires_at timestamptz default null,
  p_priority integer default null,
  p_reference text default null,
  p_metadata jsonb default '{}',
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
  v_key credits.charge_keys;
  v_fingerprint text;
  v_now timestamptz;
  v_before numeric;
  v_log_id bigint;
  v_result jsonb;
begin
  p_metadata := coalesce(p_metadata, '{}');
  perform credits.check_argument(p_user_id is not null, 'p_user_id', 'must not be null');
  perform credits.check_amount('p_amount', p_amount);
  perform credits.check_argument(p_source in ('monthly', 'purchased', 'trial', 'promotional', 'refund', 'adjustment'),
    'p_source', 'must be monthly, purchased, trial, promotional, refund or adjustment');
  perform credits.check_argument(p_expires_at is null or p_source <> 'purchased', 'p_expires_at', 'purchased credits never expire');
  perform credits.check_argument(p_expires_at is null or isfinite(p_expires_at), 'p_expires_at', 'must be finite');
  perform credits.check_argument(coalesce(p_priority between 0 and 1000, true), 'p_priority', 'must be 0 to 1000');
  perform credits.check_argument(p_credit_type ~ '^[a-z][a-z0-9_]{0,62}$', 'p_credit_type', 'must be a lower-case name');
  perform credits.check_texts(p_metadata, p_idempotency_key, p_reference);

  v_wallet := credits.lock_wallet(p_user_id, p_credit_type);
  if v_wallet.user_id is null then
    return credits.outcome('unknown_account', jsonb_build_object('user_id', p_user_id));
  end if;
  v_now := greatest(credits.clock_now(), v_wallet.last_entry_at);

  if p_idempotency_key is not null then
    v_fingerprint := jsonb_build_array('grant_credits', trim_scale(p_amount), p_source, extract(epoch from p_expires_at), p_priority,
      p_reference)::text;
    v_key := credits.find_key(p_user_id, p_credit_type, 'caller', p_idempotency_key, v_now);
    if v_key.key is not null then
      return credits.replay_key(v_key, v_fingerprint);
    end if;
  end if;
  perform credits.check_argument(p_expires_at is null or p_expires_at > v_now, 'p_expires_at', 'must be in the future');

  v_wallet := credits.apply_due(v_wallet, v_now);
  v_before := v_wallet.balance;
  perform credits.check_argument(v_before + p_amount <= 10000000000000, 'p_amount', 'would lift the balance above 10000000000000');
  v_wallet := credits.add_grant(v_wallet, v_now, p_amount, p_source, p_priority,
    case when p_source = 'monthly' then coalesce(p_expires_at, v_wallet.next_reset_at) else p_expires_at end,
    p_reference => p_reference, p_metadata => p_metadata);
  v_log_id := v_wallet.entry_no;
  v_wallet := credits.finish_operation(v_wallet, v_now);

  v_result := credits.outcome('ok', jsonb_build_object(
    'credit_type', p_credit_type,
    'source', p_source,
    'amount', trim_scale(p_amount),
    'balance_before', trim_scale(v_before),
    'balance_after', trim_scale(v_wallet.balance),
    'log_id', v_log_id,
    'replayed', false));
  if p_idempotency_key is not null then
    perform credits.remember_key(p_user_id, p_credit_type, p_idempotency_key, 'grant_credits', v_fingerprint,
      v_log_id, v_result, v_now);
  end if;
  return v_result;
end
$$;

comment on function credits.grant_credits(uuid, numeric, text, timestamptz, integer, text, jsonb, text, text) is
  'Grants credits. Spent by priority (lower first; default monthly 10, trial and promotional 20, others 50), then by expiry, then in the order '
  'granted. Monthly credits without expiry expire when the allowance renews; purchased ones never do. What the wallet owes is paid first. Returns '
  'code ok or unknown_account, credit_type, source, amount, balance_before, balance_after (what chat sessions owed is paid by then), log_id (the '
  'entry number, which is also the grant''s number) and replayed. With an idempotency key the same request (amount, source, expiry, priority, '
  'reference; not the metadata) grants once in 30 days and then returns the stored result: repeat it with the expiry of the first time, not with '
  'now() plus an interval, which would be another request. Locks the wallet row. Raises UC001 for malformed arguments, UC201 for a key used for '
  'another request.';

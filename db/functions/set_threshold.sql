create or replace function credits.set_threshold(
  p_user_id uuid,
  p_amount numeric,
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
  v_spendable numeric;
  v_before numeric;
begin
  perform credits.check_argument(p_user_id is not null, 'p_user_id', 'must not be null');
  perform credits.check_argument(p_credit_type ~ '^[a-z][a-z0-9_]{0,62}$', 'p_credit_type', 'must be a lower-case name');
  if p_amount is not null then
    perform credits.check_amount('p_amount', p_amount);
  end if;
  v_wallet := credits.lock_wallet(p_user_id, p_credit_type);
  if v_wallet.user_id is null then
    return credits.outcome('unknown_account', jsonb_build_object('user_id', p_user_id));
  end if;
  v_now := greatest(credits.clock_now(), v_wallet.last_entry_at);
  v_wallet := credits.apply_due(v_wallet, v_now);

  v_before := v_wallet.low_threshold;
  v_spendable := v_wallet.balance + v_wallet.debt;
  if v_before is distinct from p_amount then
    -- At or below the old threshold the user was told when it came to that, and a new threshold makes it no new episode.
    if v_spendable > least(coalesce(p_amount, 0), greatest(coalesce(v_before, 0), v_wallet.alert_at)) then
      v_wallet.alert_at := coalesce(p_amount, 0);
    end if;
    v_wallet.low_threshold := p_amount;
    v_wallet.change_no := v_wallet.change_no + 1;
  end if;
  perform credits.finish_operation(v_wallet, v_now);
  return credits.outcome('ok', jsonb_build_object('credit_type', p_credit_type, 'threshold', trim_scale(p_amount),
    'previous_threshold', trim_scale(v_before), 'available', trim_scale(v_spendable)));
end
$$;

comment on function credits.set_threshold(uuid, numeric, text) is
  'At how many credits left a user is told that they run low, once per fall to or below it (above 0, at most 1000000000, up to 6 decimals; null for '
  'never). Told at once if no more than that are left and nothing was told of it yet. Returns code ok or unknown_account, credit_type, threshold, '
  'previous_threshold and available. Locks the wallet row. Raises UC001 for malformed arguments.';

create or replace function credits.charge(
  p_user_id uuid,
  p_action_type text,
  p_quantity numeric,
  p_reference_id uuid,
  p_metadata jsonb,
  p_key_source text,
  p_key text,
  p_duration_seconds integer default null,
  p_cost_breakdown jsonb default null
)
returns jsonb
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_cost credits.credit_costs;
  v_wallet credits.wallets;
  v_status text;
  v_function_name text := case p_key_source when 'caller' then 'deduct_credits_for_action' else 'deduct_call_credits' end;
  v_key credits.charge_keys;
  v_fingerprint text;
  v_now timestamptz;
  v_amount numeric;
  v_available numeric;
  v_drawn record;
  v_allocations jsonb := '[]';
  v_code text;
  v_result jsonb;
begin
  select c.* into v_cost from credits.credit_costs c where c.action_type = p_action_type;
  if not found then
    if exists (select from credits.accounts a where a.user_id = p_user_id) then
      perform credits.notify_decline(p_user_id, 'credits', p_action_type, 'unknown_action', null, null, 1, credits.clock_now());
    end if;
    return credits.outcome('unknown_action', jsonb_build_object('action_type', p_action_type));
  end if;
  v_amount := credits.price_of(v_cost.cost_per_unit, p_quantity);

  -- From here on the wallet is ours: everything that depends on it is read in later statements.
  select w.* into v_wallet
  from credits.wallets w
  where w.user_id = p_user_id and w.credit_type = v_cost.credit_type
  for no key update;
  if not found then
    v_wallet := credits.open_wallet(p_user_id, v_cost.credit_type);
    if v_wallet.user_id is null then
      return credits.outcome('unknown_account', jsonb_build_object(
        'action_type', v_cost.action_type, 'action_name', v_cost.action_name, 'required', trim_scale(v_amount)));
    end if;
  end if;
  v_now := greatest(credits.clock_now(), v_wallet.last_entry_at);

  if p_key is not null then
    v_fingerprint := jsonb_build_array(v_function_name, p_action_type, trim_scale(p_quantity), p_reference_id)::text;
    select k.* into v_key
    from credits.charge_keys k
    where k.user_id = p_user_id and k.credit_type = v_cost.credit_type and k.source = p_key_source and k.key = p_key
      and k.expires_at > v_now;
    if found then
      if p_key_source <> 'caller' then
        return credits.replay_row(v_key);
      end if;
      return credits.replay_key(v_key, v_fingerprint);
    end if;
  end if;

  if v_wallet.next_due_at <= v_now then
    v_wallet := credits.apply_due(v_wallet, v_now);
  end if;
  select a.status into v_status from credits.accounts a where a.user_id = p_user_id;
  v_available := v_wallet.balance + v_wallet.debt;
  v_code := case
    when v_status <> 'active' then 'account_suspended'
    when not v_cost.is_active then 'inactive_action'
    when v_available < v_amount then 'insufficient_credits'
  end;
  if v_code is not null then
    perform credits.notify_decline(p_user_id, v_cost.credit_type, p_action_type, v_code, v_amount, v_available, 1, v_now);
    update credits.wallets w
    set change_no = v_wallet.change_no + 1
    where w.user_id = p_user_id and w.credit_type = v_cost.credit_type;
    return credits.outcome(v_code, jsonb_build_object('action_type', v_cost.action_type, 'action_name', v_cost.action_name,
      'required', trim_scale(v_amount), 'available', trim_scale(v_available)));
  end if;

  if v_wallet.open_remaining >= v_amount then
    v_wallet.open_remaining := v_wallet.open_remaining - v_amount;
    v_allocations := jsonb_build_array(
      jsonb_build_object('grant', v_wallet.open_grant_no, 'source', v_wallet.open_grant_source, 'amount', trim_scale(v_amount)));
  elsif v_amount > 0 then
    v_drawn := credits.draw_grants(v_wallet, v_amount);
    v_wallet := v_drawn.p_wallet;
    v_allocations := v_drawn.allocations;
  end if;

  update credits.wallets w
  set balance = v_wallet.balance - v_amount,
    entry_no = v_wallet.entry_no + 1,
    change_no = v_wallet.change_no + 1,
    last_entry_at = v_now,
    open_grant_no = v_wallet.open_grant_no,
    open_grant_source = v_wallet.open_grant_source,
    open_remaining = v_wallet.open_remaining
  where w.user_id = p_user_id and w.credit_type = v_cost.credit_type;

  insert into credits.credit_ledger
    (user_id, credit_type, entry_no, created_at, kind, amount, balance_after, action_type, unit_price, quantity, allocations,
      row_source, row_id, reference_id, duration_seconds, cost_breakdown, actor, session_role, metadata)
  values
    (p_user_id, v_cost.credit_type, v_wallet.entry_no + 1, v_now, 'usage', -v_amount, v_wallet.balance - v_amount, p_action_type,
      v_cost.cost_per_unit, p_quantity, v_allocations,
      case when p_key_source <> 'caller' then p_key_source end, case when p_key_source <> 'caller' then p_key end,
      p_reference_id, p_duration_seconds, p_cost_breakdown, left(nullif(current_setting('credits.actor', true), ''), 255), session_user, p_metadata);

  v_result := jsonb_build_object(
    'success', true,
    'code', 'ok',
    'error', null,
    'action_type', v_cost.action_type,
    'action_name', v_cost.action_name,
    'required', trim_scale(v_amount),
    'available', trim_scale(v_available),
    'credits_deducted', trim_scale(v_amount),
    'balance_before', trim_scale(v_wallet.balance),
    'balance_after', trim_scale(v_wallet.balance - v_amount),
    'log_id', v_wallet.entry_no + 1,
    'replayed', false);
  if p_key is not null then
    perform credits.remember_key(p_user_id, v_cost.credit_type, p_key_source, p_key, v_function_name, v_fingerprint,
      v_wallet.entry_no + 1, v_result, v_now);
  end if;
  return v_result;
end
$$;

comment on function credits.charge(uuid, text, numeric, uuid, jsonb, text, text, integer, jsonb) is
  'Internal. One charge by a direct caller, with an idempotency key (source caller), a row''s identity (any other source) or neither. '
  'Locks the wallet row first (FOR NO KEY UPDATE); key, status, grants and balance are read after that, so of two callers the second sees '
  'all that the first one did, or fails with 40001 at REPEATABLE READ. The price is the one in force when the call began. '
  'Declines are returned, never raised.';

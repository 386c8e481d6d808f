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
  v_cost record;
  v_wallet credits.wallets;
  v_drawn record;
  v_key credits.charge_keys;
  v_function_name text;
  v_fingerprint text;
  v_now timestamptz;
  v_amount numeric;
  v_code text;
  v_allocations jsonb;
  v_entry_no bigint;
  v_result jsonb;
  -- The time was read before this statement may have waited for the lock. So whoever is near a due moment locks first.
  v_margin interval := '1 hour';
begin
  select c.credit_type, c.action_name, c.cost_per_unit, c.is_active
  into v_cost
  from credits.credit_costs c
  where c.action_type = p_action_type;
  if not found then
    if exists (select from credits.accounts a where a.user_id = p_user_id) then
      perform credits.notify_decline(p_user_id, 'credits', p_action_type, 'unknown_action', null, null, 1, credits.clock_now());
    end if;
    return credits.outcome('unknown_action', jsonb_build_object('action_type', p_action_type));
  end if;
  v_amount := case p_quantity when 1 then v_cost.cost_per_unit else credits.price_of(v_cost.cost_per_unit, p_quantity) end;

  if p_key is not null then
    v_wallet := credits.lock_wallet(p_user_id, v_cost.credit_type);
    v_now := greatest(credits.clock_now(), v_wallet.last_entry_at);
    v_margin := '0';
    v_function_name := case p_key_source when 'caller' then 'deduct_credits_for_action' else 'deduct_call_credits' end;
    v_fingerprint := jsonb_build_array(v_function_name, p_action_type, trim_scale(p_quantity), p_reference_id);
    select k.* into v_key
    from credits.charge_keys k
    where k.user_id = p_user_id and k.credit_type = v_cost.credit_type and k.source = p_key_source and k.key = p_key
      and k.expires_at > v_now;
    if found and p_key_source = 'caller' then
      return credits.replay_key(v_key, v_fingerprint);
    elsif found then
      return credits.replay_row(v_key);
    end if;
  end if;

  v_now := coalesce(v_now, credits.clock_now());
  loop
    -- The usual charge is this one statement, which locks the wallet by updating it and looks at that row alone: nothing is due, and the open
    -- grant covers the amount. Otherwise it finds no row, and what follows either declines, or makes the wallet ready for it.
    with w as (
      update credits.wallets w
      set balance = w.balance - v_amount,
        entry_no = w.entry_no + 1,
        change_no = w.change_no + 1,
        last_entry_at = greatest(v_now, w.last_entry_at),
        open_remaining = case when v_allocations is null then w.open_remaining - v_amount else w.open_remaining end
      where w.user_id = p_user_id and w.credit_type = v_cost.credit_type and w.is_active and v_cost.is_active
        and (v_allocations is not null or (w.open_remaining >= v_amount and w.next_due_at > greatest(v_now, w.last_entry_at) + v_margin))
      returning w.entry_no, w.balance, w.debt, w.last_entry_at, w.open_grant_no, w.open_grant_source
    ), l as (
      insert into credits.credit_ledger
        (user_id, credit_type, entry_no, created_at, kind, amount, balance_after, action_type, unit_price, quantity, allocations,
          row_source, row_id, reference_id, duration_seconds, cost_breakdown, actor, session_role, metadata)
      select p_user_id, v_cost.credit_type, w.entry_no, w.last_entry_at, 'usage', -v_amount, w.balance, p_action_type, v_cost.cost_per_unit, p_quantity,
        coalesce(v_allocations, jsonb_build_array(
          jsonb_build_object('grant', w.open_grant_no, 'source', w.open_grant_source, 'amount', trim_scale(v_amount)))),
        case when p_key_source <> 'caller' then p_key_source end, case when p_key_source <> 'caller' then p_key end,
        p_reference_id, p_duration_seconds, p_cost_breakdown, left(nullif(current_setting('credits.actor', true), ''), 255), session_user,
        p_metadata
      from w
    )
    select w.entry_no, jsonb_build_object(
      'success', true,
      'code', 'ok',
      'error', null,
      'action_type', p_action_type,
      'action_name', v_cost.action_name,
      'required', trim_scale(v_amount),
      'available', trim_scale(w.balance + w.debt + v_amount),
      'credits_deducted', trim_scale(v_amount),
      'balance_before', trim_scale(w.balance + v_amount),
      'balance_after', trim_scale(w.balance),
      'log_id', w.entry_no,
      'replayed', false)
    into v_entry_no, v_result
    from w;
    exit when found;

    v_wallet := credits.lock_wallet(p_user_id, v_cost.credit_type);
    if v_wallet.user_id is null then
      return credits.outcome('unknown_account', jsonb_build_object(
        'action_type', p_action_type, 'action_name', v_cost.action_name, 'required', trim_scale(v_amount)));
    end if;
    v_now := greatest(credits.clock_now(), v_wallet.last_entry_at);
    v_margin := '0';
    v_wallet := credits.apply_due(v_wallet, v_now);
    v_code := case
      when not v_wallet.is_active then 'account_suspended'
      when not v_cost.is_active then 'inactive_action'
      when v_wallet.balance + v_wallet.debt < v_amount then 'insufficient_credits'
    end;
    if v_code is not null then
      perform credits.notify_decline(
        p_user_id, v_cost.credit_type, p_action_type, v_code, v_amount, v_wallet.balance + v_wallet.debt, 1, v_now);
      v_wallet.change_no := v_wallet.change_no + 1;
      perform credits.save_wallet(v_wallet);
      return credits.outcome(v_code, jsonb_build_object('action_type', p_action_type, 'action_name', v_cost.action_name,
        'required', trim_scale(v_amount), 'available', trim_scale(v_wallet.balance + v_wallet.debt)));
    end if;
    if v_amount = 0 then
      v_allocations := '[]';
    elsif (v_wallet.open_remaining >= v_amount) is not true then
      v_drawn := credits.draw_grants(v_wallet, v_amount);
      perform credits.save_wallet(v_drawn.p_wallet);
      v_allocations := v_drawn.allocations;
    end if;
  end loop;

  if p_key is not null then
    perform credits.remember_key(p_user_id, v_cost.credit_type, p_key_source, p_key, v_function_name, v_fingerprint, v_entry_no, v_result, v_now);
  end if;
  return v_result;
end
$$;

comment on function credits.charge(uuid, text, numeric, uuid, jsonb, text, text, integer, jsonb) is
  'Internal. One charge by a direct caller, with an idempotency key (source caller), a row''s identity (any other source) or neither. '
  'Locks the wallet row first: without a key by the very update that takes the amount, which looks at no other row; else FOR NO KEY UPDATE, '
  'and key and grants are read after that. So of two callers the second sees all that the first one did, or fails with 40001 at REPEATABLE '
  'READ. Price and time are those of the moment when the call began, the time never before the wallet''s last entry; a wallet '
  'within an hour of a due moment is locked first. Declines are returned, '
  'never raised.';

create or replace function credits.deduct_credits_for_action(
  p_user_id uuid,
  p_action_type text,
  p_quantity numeric default 1,
  p_reference_id uuid default null,
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
  v_now timestamptz;
  v_result jsonb;
begin
  -- The usual charge is this one statement, which locks the wallet by updating it and looks at that row and the price alone. Whatever is not
  -- so simple finds no row: something is due soon (the time was read before this may have waited for the lock), the open slice of a grant does not
  -- cover the price, the plan has terms of its own, or the arguments are wrong. Kept bare: each expression in it costs every charge.
  if p_quantity = 1 and p_idempotency_key is null and p_metadata = '{}' then
    v_now := credits.clock_now();
    with w as (
      update credits.wallets w
      set balance = w.balance - c.cost_per_unit,
        entry_no = w.entry_no + 1,
        change_no = w.change_no + 1,
        last_entry_at = greatest(v_now, w.last_entry_at),
        open_remaining = w.open_remaining - c.cost_per_unit
      from credits.credit_costs c
      where c.action_type = p_action_type and c.is_active and not c.has_plan_terms
        and w.user_id = p_user_id and w.credit_type = c.credit_type and w.is_active
        and w.open_remaining > c.cost_per_unit and w.next_due_at > v_now + interval '1 hour'
      returning w.credit_type, w.entry_no, w.balance, w.debt, w.last_entry_at, w.open_grant_no, c.action_name,
        trim_scale(c.cost_per_unit) as price
    ), l as (
      insert into credits.credit_ledger
        (user_id, credit_type, entry_no, created_at, kind, amount, balance_after, action_type, unit_price, quantity, grant_no, reference_id,
          actor, session_role, metadata)
      select p_user_id, w.credit_type, w.entry_no, w.last_entry_at, 'usage', -w.price, w.balance, p_action_type, w.price, 1,
        w.open_grant_no, p_reference_id, left(current_setting('credits.actor', true), 255), session_user, '{}'
      from w
    )
    select credits.charged(p_action_type, w.action_name, w.price, w.balance, w.debt, w.entry_no)
    into v_result
    from w;
    if found then
      return v_result;
    end if;
  end if;

  p_metadata := coalesce(p_metadata, '{}');
  perform credits.check_argument(p_user_id is not null, 'p_user_id', 'must not be null');
  perform credits.check_argument(length(p_action_type) between 1 and 100, 'p_action_type', 'must have 1 to 100 characters');
  perform credits.check_amount('p_quantity', p_quantity);
  perform credits.check_texts(p_metadata, p_idempotency_key);
  return credits.charge(p_user_id, p_action_type, p_quantity, p_reference_id, p_metadata, 'caller', p_idempotency_key);
end
$$;

comment on function credits.deduct_credits_for_action(uuid, text, numeric, uuid, jsonb, text) is
  'Charges an action: the price in credit_costs times the quantity of priced units. Returns success, code (ok, insufficient_credits, limit_reached, '
  'unknown_account, account_suspended, unknown_action, inactive_action), error, action_type, action_name, required, available (before the charge), '
  'limit, used and limit_period (of limit_reached), and on success credits_deducted, balance_before, balance_after, log_id (the entry number) and '
  'replayed. A decline of an account leaves a notification. With an idempotency key the same request (action, quantity, reference; not the metadata) '
  'charges once in 30 days and then returns the stored result; a decline is not stored, so a later try may succeed. Locks the wallet row first, by '
  'the update that takes the amount or FOR NO KEY UPDATE, and reads grants and keys after that: so of two callers the second sees all that the first '
  'one did. Raises UC001 for malformed arguments, UC201 for a key used for another request; 40001 (at REPEATABLE READ and above) and 40P01 are to be '
  'retried.';

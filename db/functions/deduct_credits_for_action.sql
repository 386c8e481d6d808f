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
  v_now timestamptz := credits.clock_now();
  v_credit_type text;
  v_price numeric(20,6);
  v_amount numeric;
  v_outcome jsonb;
  v_change_no bigint;
  v_result jsonb;
begin
  -- The usual charge reads the price, and then one statement locks the wallet by updating it, looking at that row alone. Whatever is not so simple
  -- finds no row: something is due soon (the time was read before this may have waited for the lock), the open slice of a grant does not cover the
  -- amount, there is debt, the plan has terms of its own, or the arguments are wrong. Kept bare: each expression in it costs every charge.
  if p_idempotency_key is null then
    select c.credit_type, c.usual_price, c.usual_outcome
    into v_credit_type, v_price, v_outcome
    from credits.credit_costs c
    where c.action_type = p_action_type;
  elsif length(p_idempotency_key) between 1 and 255 then
    -- That the key is new is read before the lock, and is true under it if the wallet is still as it was in this very snapshot: whoever writes or
    -- erases a key holds the lock and moves the change counter. A key that has expired counts as used here; charge() knows better.
    select c.credit_type, c.usual_price, c.usual_outcome, w.change_no
    into v_credit_type, v_price, v_outcome, v_change_no
    from credits.credit_costs c
    join credits.wallets w on w.user_id = p_user_id and w.credit_type = c.credit_type
    where c.action_type = p_action_type
      and not exists (
        select
        from credits.credit_ledger l
        where l.key_hash = credits.key_hash(p_user_id, p_idempotency_key)
          and (l.user_id = p_user_id and l.credit_type = c.credit_type and l.idempotency_key = p_idempotency_key) is true)
      and not exists (
        select
        from credits.charge_keys k
        where k.user_id = p_user_id and k.credit_type = c.credit_type and k.source = 'caller' and k.key = p_idempotency_key)
      and not exists (
        select
        from credits.charge_keys k
        where k.user_id = p_user_id and k.credit_type = c.credit_type and k.source = 'erased');
  end if;
  v_amount := v_price;
  -- What is malformed has no usual amount, and more than the highest cost is for charge() to refuse.
  if (p_quantity = 1 and p_metadata = '{}') is not true then
    v_amount := case
      when p_quantity > 0 and p_quantity <= 1000000000 and scale(trim_scale(p_quantity)) <= 6 and v_price * p_quantity <= 1000000000
        and jsonb_typeof(p_metadata) = 'object' and octet_length(p_metadata::text) <= 16384
      then trim_scale(credits.amount_of(v_price, p_quantity))
    end;
    v_outcome := v_outcome || jsonb_build_object('required', v_amount, 'credits_deducted', v_amount);
  end if;
  with w as (
    update credits.wallets w
    set balance = w.balance - v_amount,
      entry_no = w.entry_no + 1,
      change_no = w.change_no + 1,
      last_entry_at = greatest(v_now, w.last_entry_at),
      open_remaining = w.open_remaining - v_amount
    where w.user_id = p_user_id and w.credit_type = v_credit_type and w.is_active and w.debt = 0
      and w.open_remaining > v_amount and w.next_due_at > v_now + interval '1 hour'
      and (w.change_no = v_change_no) is not false
    returning w.entry_no, w.balance, w.last_entry_at, w.open_grant_no
  )
  insert into credits.credit_ledger
    (user_id, credit_type, entry_no, created_at, kind, amount, balance_after, action_type, unit_price, quantity, grant_no, idempotency_key,
      key_hash, reference_id, actor, session_role, metadata)
  select p_user_id, v_credit_type, w.entry_no, w.last_entry_at, 'usage', -v_amount, w.balance, p_action_type, v_price, p_quantity,
    w.open_grant_no, p_idempotency_key, credits.key_hash(p_user_id, p_idempotency_key), p_reference_id,
    nullif(left(current_setting('credits.actor', true), 255), ''), session_user, p_metadata
  from w
  returning v_outcome || jsonb_build_object('available', trim_scale(balance_after + v_amount),
    'balance_before', trim_scale(balance_after + v_amount), 'balance_after', trim_scale(balance_after), 'log_id', entry_no)
  into v_result;
  if found then
    return v_result;
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
  'charges once in 30 days and then returns the first result, as its entry tells it; a decline is not stored, so a later try may succeed. Locks the wallet row first, by '
  'the update that takes the amount or FOR NO KEY UPDATE, and reads grants and keys after that, or proves under the lock that what it read before '
  'still holds: so of two callers the second sees all that the first one did. Raises UC001 for malformed arguments, UC201 for a key used for another '
  'request; 40001 (at REPEATABLE READ and above) and 40P01 are to be retried.';

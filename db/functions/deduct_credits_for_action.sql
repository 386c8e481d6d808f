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
begin
  -- The usual call passes this one expression; a function call for each check would be a tenth of the whole charge.
  if (p_user_id is not null and length(p_action_type) between 1 and 100 and p_quantity = 1 and p_metadata = '{}'
    and p_idempotency_key is null) is not true
  then
    p_metadata := coalesce(p_metadata, '{}');
    perform credits.check_argument(p_user_id is not null, 'p_user_id', 'must not be null');
    perform credits.check_argument(length(p_action_type) between 1 and 100, 'p_action_type', 'must have 1 to 100 characters');
    perform credits.check_amount('p_quantity', p_quantity);
    perform credits.check_texts(p_metadata, p_idempotency_key);
  end if;
  return credits.charge(p_user_id, p_action_type, p_quantity, p_reference_id, p_metadata, 'caller', p_idempotency_key);
end
$$;

comment on function credits.deduct_credits_for_action(uuid, text, numeric, uuid, jsonb, text) is
  'Charges an action: the price in credit_costs times the quantity of priced units. Returns success, code (ok, insufficient_credits, '
  'unknown_account, account_suspended, unknown_action, inactive_action), error, action_type, action_name, required, available, and on success '
  'credits_deducted, balance_before, balance_after, log_id (the entry number) and replayed. A decline of an account leaves a notification. '
  'With an idempotency key the same request (action, quantity, reference) charges once in 30 days and then returns the stored result. '
  'Locks the wallet row. Raises UC001 for malformed arguments, UC201 for a key used for another request; 40001 and 40P01 are to be retried.';

create or replace function credits.suspend_account(
  p_user_id uuid,
  p_reason text default null
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  return credits.change_status(p_user_id, 'suspended', p_reason);
end
$$;

comment on function credits.suspend_account(uuid, text) is
  'Suspends an account: every charge and hold is declined with account_suspended until reactivate_account(); allowances, expiries, grants and refunds '
  'go on. Repeating it changes nothing, the reason included. Returns code ok or unknown_account, status, previous_status and changed. Locks all '
  'wallets of the user, then the account. Raises UC001 for malformed arguments, UC340 for a closed account.';

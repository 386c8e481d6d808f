create or replace function credits.close_account(
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
  return credits.change_status(p_user_id, 'closed', p_reason);
end
$$;

comment on function credits.close_account(uuid, text) is
  'Closes an account for good: holds are released, allowances renew no more, every charge is declined with account_suspended; the books stay, and so does what is '
  'left on them. Repeating it changes nothing. Returns code ok or unknown_account, status, previous_status, changed and holds_released. Locks all wallets of '
  'the user, then the account. Raises UC001 for malformed arguments.';

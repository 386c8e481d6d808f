create or replace function credits.reactivate_account(p_user_id uuid)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  return credits.change_status(p_user_id, 'active', null);
end
$$;

comment on function credits.reactivate_account(uuid) is
  'Ends a suspension: the account may spend again. Repeating it changes nothing. Returns code ok or unknown_account, status, previous_status and changed. '
  'Locks all wallets of the user, then the account. Raises UC001 for a null user, UC340 for a closed account.';

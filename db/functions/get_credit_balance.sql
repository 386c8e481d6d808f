create or replace function credits.get_credit_balance(
  p_user_id uuid,
  p_credit_type text default 'credits'
)
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_wallet credits.wallets;
  v_now timestamptz;
  v_projected record;
begin
  perform credits.check_argument(p_user_id is not null, 'p_user_id', 'must not be null');
  perform credits.check_argument(p_credit_type is not null, 'p_credit_type', 'must not be null');
  if not exists (select from credits.accounts a where a.user_id = p_user_id) then
    return credits.outcome('unknown_account', jsonb_build_object('user_id', p_user_id));
  end if;
  select w.* into v_wallet from credits.wallets w where w.user_id = p_user_id and w.credit_type = p_credit_type;
  v_now := greatest(credits.clock_now(), v_wallet.last_entry_at);
  v_projected := credits.project_wallet(v_wallet, v_now, v_now);
  v_wallet := v_projected.p_wallet;

  return credits.outcome('ok', jsonb_build_object(
    'user_id', p_user_id,
    'credit_type', p_credit_type,
    'total', trim_scale(v_projected.monthly + v_projected.purchased + v_projected.other),
    'monthly', trim_scale(v_projected.monthly),
    'purchased', trim_scale(v_projected.purchased),
    'other', trim_scale(v_projected.other),
    'held', trim_scale(coalesce(v_wallet.held, 0)),
    'debt', trim_scale(coalesce(v_wallet.debt, 0)),
    'owed', trim_scale(coalesce(v_wallet.owed, 0)),
    'last_monthly_reset', v_wallet.last_reset_at,
    'next_monthly_reset', nullif(v_wallet.next_reset_at, 'infinity'),
    'entry_no', coalesce(v_wallet.entry_no, 0)));
end
$$;

comment on function credits.get_credit_balance(uuid, text) is
  'What a user can spend now: total = monthly + purchased + other; held credits are not in it. Also debt, owed (by chat sessions, beside the balance), last_monthly_reset, '
  'next_monthly_reset and entry_no, all as they will be once what is due has been applied. Code ok or unknown_account. Reads only and locks '
  'nothing; sees the rows that its caller may see. Raises UC001 for a null argument.';

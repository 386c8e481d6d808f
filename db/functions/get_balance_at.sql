create or replace function credits.get_balance_at(
  p_user_id uuid,
  p_at timestamptz,
  p_credit_type text default 'credits'
)
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_wallet credits.wallets;
  v_entry credits.credit_ledger;
  v_balance numeric;
  v_low bigint := 0;
  v_high bigint;
  v_middle bigint;
  v_projected record;
begin
  perform credits.check_argument(p_user_id is not null, 'p_user_id', 'must not be null');
  perform credits.check_argument(isfinite(p_at), 'p_at', 'must be a moment');
  perform credits.check_argument(p_at <= credits.clock_now(), 'p_at', 'must not be in the future');
  perform credits.check_argument(p_credit_type is not null, 'p_credit_type', 'must not be null');
  if not exists (select from credits.accounts a where a.user_id = p_user_id) then
    return credits.outcome('unknown_account', jsonb_build_object('user_id', p_user_id));
  end if;
  select w.* into v_wallet from credits.wallets w where w.user_id = p_user_id and w.credit_type = p_credit_type;
  -- Entry numbers have no gaps and their times do not decrease, so the last entry by then is found by halving.
  v_high := coalesce(v_wallet.entry_no, 0);
  while v_low < v_high loop
    v_middle := (v_low + v_high + 1) / 2;
    if exists (
      select from credits.credit_entries l
      where l.user_id = p_user_id and l.credit_type = p_credit_type and l.entry_no = v_middle and l.created_at <= p_at)
    then
      v_low := v_middle;
    else
      v_high := v_middle - 1;
    end if;
  end loop;
  select l.* into v_entry
  from credits.credit_entries l
  where l.user_id = p_user_id and l.credit_type = p_credit_type and l.entry_no = v_low;
  v_balance := coalesce(v_entry.balance_after, 0);
  if v_low = v_wallet.entry_no then
    v_projected := credits.project_wallet(v_wallet, greatest(credits.clock_now(), v_wallet.last_entry_at), p_at);
    v_balance := (v_projected.p_wallet).balance;
  end if;
  return credits.outcome('ok', jsonb_build_object(
    'user_id', p_user_id,
    'credit_type', p_credit_type,
    'at', p_at,
    'balance', trim_scale(v_balance),
    'entry_no', v_low,
    'entry_at', v_entry.created_at));
end
$$;

comment on function credits.get_balance_at(uuid, timestamptz, text) is
  'The balance that the ledger stood at by a past moment, inclusive, with the number and time of the last entry then (0 and null before the first). '
  'What had fallen due by then counts, applied or not. Code ok or unknown_account. A few index '
  'probes, whatever the length of the history. Reads only and locks nothing. Raises UC001 for a null argument, infinity or a moment to come.';

create or replace function credits.open_wallet(
  p_user_id uuid,
  p_credit_type text
)
returns credits.wallets
language plpgsql
volatile
as $$
declare
  v_wallet credits.wallets;
  v_now timestamptz := credits.clock_now();
  v_is_active boolean;
  v_is_new boolean;
begin
  perform credits.check_argument(p_credit_type = 'credits'
    or exists (select from credits.credit_costs c where c.credit_type = p_credit_type)
    or exists (select from credits.plan_allowances p where p.credit_type = p_credit_type)
    or exists (select from credits.credit_cost_changes h where h.credit_type = p_credit_type),
    'p_credit_type', format('there is no credit type %L: no price and no plan names it', p_credit_type));
  -- Against a change of the account's status at the same time: whoever comes second sees what the first one did.
  -- An update, as a mere lock would leave a REPEATABLE READ caller unaware.
  update credits.accounts a set status = a.status where a.user_id = p_user_id returning a.status = 'active' into v_is_active;
  if not found then
    return null;
  end if;
  insert into credits.wallets (user_id, credit_type, is_active, last_entry_at)
  values (p_user_id, p_credit_type, v_is_active, v_now)
  on conflict (user_id, credit_type) do nothing;
  v_is_new := found;

  select w.* into v_wallet
  from credits.wallets w
  where w.user_id = p_user_id and w.credit_type = p_credit_type
  for no key update;
  if v_is_new and exists (select from credits.chat_sessions s where s.user_id = p_user_id and s.rate is null) then
    v_wallet := credits.save_wallet(credits.price_chat_sessions(v_wallet, v_now));
  end if;
  return v_wallet;
end
$$;

comment on function credits.open_wallet(uuid, text) is
  'Internal. Opens the wallet of an account if it has none of that credit type, and locks it, and the account''s row before that. Null if there is no account. '
  'Raises UC001 for a credit type that no price and no plan names.';

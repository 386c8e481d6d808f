create or replace function credits.change_plan(
  p_user_id uuid,
  p_plan_id text
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_account credits.accounts;
  v_wallet credits.wallets;
  v_now timestamptz := credits.clock_now();
  v_allowance record;
  v_period_no integer;
  v_next_reset_at timestamptz;
  v_granted numeric;
  v_added jsonb := '{}';
begin
  perform credits.check_argument(p_user_id is not null, 'p_user_id', 'must not be null');
  perform credits.check_argument(exists (select from credits.plans p where p.plan_id = p_plan_id), 'p_plan_id', 'there is no such plan');
  if not exists (select from credits.accounts a where a.user_id = p_user_id) then
    return credits.outcome('unknown_account', jsonb_build_object('user_id', p_user_id));
  end if;

  -- All wallets first, in order: charges read the plan under the lock of theirs.
  for v_allowance in
    select w.credit_type from credits.wallets w where w.user_id = p_user_id
    union
    select p.credit_type from credits.plan_allowances p where p.plan_id = p_plan_id
    order by credit_type
  loop
    v_wallet := credits.lock_wallet(p_user_id, v_allowance.credit_type);
    v_now := greatest(v_now, v_wallet.last_entry_at);
  end loop;
  v_now := greatest(credits.clock_now(), v_now);
  -- What is due is due on the old plan. Locked again, here and below, as one may have been opened meanwhile.
  for v_wallet in
    select w.* from credits.wallets w where w.user_id = p_user_id order by w.credit_type for no key update
  loop
    -- As it is by now: a trigger of the application's own may have changed it since it was fetched.
    v_wallet := credits.lock_wallet(v_wallet.user_id, v_wallet.credit_type);
    perform credits.apply_due(v_wallet, v_now);
  end loop;
  select a.* into v_account from credits.accounts a where a.user_id = p_user_id;
  if v_account.status = 'closed' then
    perform credits.fail('UC340', 'a closed account stays closed',
      jsonb_build_object('code', 'account_closed', 'user_id', p_user_id, 'status', v_account.status));
  end if;
  update credits.accounts a set plan_id = p_plan_id where a.user_id = p_user_id;

  for v_wallet in
    select w.* from credits.wallets w where w.user_id = p_user_id order by w.credit_type for no key update
  loop
    -- As it is by now: a trigger of the application's own may have changed it since it was fetched.
    v_wallet := credits.lock_wallet(v_wallet.user_id, v_wallet.credit_type);
    select p.amount, p.period into v_allowance
    from credits.plan_allowances p
    where p.plan_id = p_plan_id and p.credit_type = v_wallet.credit_type;
    if found and v_allowance.period = 'once' then
      select coalesce(sum(g.amount), 0) into v_granted
      from credits.stored_grants g
      where g.user_id = p_user_id and g.credit_type = v_wallet.credit_type and g.source = 'trial' and g.period_no = -1;
      if v_allowance.amount > v_granted then
        v_wallet := credits.add_grant(v_wallet, v_now, v_allowance.amount - v_granted, 'trial', p_period_no => -1);
        v_added := v_added || jsonb_build_object(v_wallet.credit_type, trim_scale(v_allowance.amount - v_granted));
      end if;
    elsif found then
      v_period_no := credits.period_number(v_account.period_anchor, v_account.time_zone, v_allowance.period, v_now);
      select coalesce(sum(g.amount), 0) into v_granted
      from credits.stored_grants g
      -- What the running period brought, a reset that was rolled back too, but not what that restored.
      where g.user_id = p_user_id and g.credit_type = v_wallet.credit_type and g.source = 'monthly' and g.period_no is not null
        and g.grant_no >= v_wallet.reset_grant_no;
      v_next_reset_at := credits.period_start(v_account.period_anchor, v_account.time_zone, v_allowance.period, v_period_no + 1);
      if v_wallet.next_reset_at = 'infinity' then
        v_wallet.last_reset_at := credits.period_start(v_account.period_anchor, v_account.time_zone, v_allowance.period, v_period_no);
        v_wallet.told_reset_at := v_wallet.last_reset_at;
        v_wallet.reset_grant_no := null;
        v_wallet.rolled_back_reset_at := null;
      end if;
      -- From a longer period to a shorter one, the longer one runs out first.
      v_wallet.next_reset_at := case v_wallet.next_reset_at when 'infinity' then v_next_reset_at
        else greatest(v_wallet.next_reset_at, v_next_reset_at) end;
      v_wallet.allowance_period := v_period_no;
      if v_allowance.amount > v_granted then
        v_wallet := credits.add_grant(v_wallet, v_now, v_allowance.amount - v_granted, 'monthly', p_expires_at => v_wallet.next_reset_at,
          p_period_no => v_period_no);
        v_wallet.reset_grant_no := coalesce(v_wallet.reset_grant_no, v_wallet.entry_no);
        v_added := v_added || jsonb_build_object(v_wallet.credit_type, trim_scale(v_allowance.amount - v_granted));
      end if;
    end if;
    v_wallet.next_due_at := least(v_wallet.next_due_at, v_wallet.next_reset_at);
    v_wallet.change_no := v_wallet.change_no + 1;
    perform credits.finish_operation(v_wallet, v_now);
  end loop;
  return credits.outcome('ok', jsonb_build_object('plan_id', p_plan_id, 'previous_plan_id', v_account.plan_id, 'granted', v_added));
end
$$;

comment on function credits.change_plan(uuid, text) is
  'Moves an account to another plan. What the plan says of prices, limits and unlimited actions holds at once. Of an allowance, what is above the credits '
  'already granted in the running period (rolled back or not) is granted at once; a lower one holds from the next reset on, and nothing is taken away. A once-only '
  'allowance is granted once, whatever the way. Moving an account to the plan that it has brings it what was added to the plan since. Returns code ok or unknown_account, plan_id, previous_plan_id and granted (amount per credit type). '
  'Locks all wallets of the user, then the account. Raises UC001 for a null user or an unknown plan, UC340 for a closed account.';

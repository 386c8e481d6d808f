create or replace function credits.open_account(
  p_user_id uuid,
  p_plan_id text default 'free',
  p_time_zone text default 'UTC'
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_account credits.accounts;
  v_opened boolean;
  v_now timestamptz := credits.clock_now();
  v_allowance record;
  v_wallet credits.wallets;
begin
  perform credits.check_argument(p_user_id is not null, 'p_user_id', 'must not be null');
  perform credits.check_argument(exists (select from credits.plans p where p.plan_id = p_plan_id), 'p_plan_id', 'there is no such plan');
  perform credits.check_argument(credits.is_time_zone(p_time_zone), 'p_time_zone', 'must be an IANA time zone, such as Europe/Berlin');

  insert into credits.accounts (user_id, plan_id, time_zone, period_anchor, created_at)
  values (p_user_id, p_plan_id, p_time_zone, v_now, v_now)
  on conflict (user_id) do nothing;
  v_opened := found;
  select a.* into v_account from credits.accounts a where a.user_id = p_user_id;

  -- Nobody else sees the new account yet, so these locks wait for nobody.
  if v_opened then
    for v_allowance in
      select t.credit_type, p.amount, p.period
      from (
        select c.credit_type from credits.credit_costs c
        union
        select p.credit_type from credits.plan_allowances p where p.plan_id = p_plan_id
      ) t
      left join credits.plan_allowances p on p.plan_id = p_plan_id and p.credit_type = t.credit_type
      order by t.credit_type
    loop
      v_wallet := credits.open_wallet(p_user_id, v_allowance.credit_type);
      continue when v_allowance.period is null;
      if v_allowance.period = 'once' then
        v_wallet := credits.add_grant(v_wallet, v_now, v_allowance.amount, 'trial', p_period_no => -1);
      else
        v_wallet.allowance_period := 0;
        v_wallet.last_reset_at := v_now;
        v_wallet.told_reset_at := v_now;
        v_wallet.next_reset_at := credits.period_start(v_now, p_time_zone, v_allowance.period, 1);
        v_wallet := credits.add_grant(v_wallet, v_now, v_allowance.amount, 'monthly',
          p_expires_at => v_wallet.next_reset_at, p_period_no => 0);
        v_wallet.reset_grant_no := v_wallet.entry_no;
      end if;
      perform credits.finish_operation(v_wallet, v_now);
    end loop;
  end if;

  return credits.outcome('ok', jsonb_build_object(
    'user_id', v_account.user_id,
    'plan_id', v_account.plan_id,
    'time_zone', v_account.time_zone,
    'status', v_account.status,
    'opened', v_opened));
end
$$;

comment on function credits.open_account(uuid, text, text) is
  'Opens an account on a plan, with a wallet per credit type of the price list, and grants the plan''s allowances; the allowance periods count from '
  'now, in the given zone. If the user has an account already, it is left as it is, and a closed one comes back with code ok and status closed. '
  'Returns code ok, user_id, plan_id, time_zone, status and opened (just now). Locks what it makes, the account and its wallets, and nothing of an '
  'account that is there; of two callers at once the second waits for the first on the primary key. Raises UC001 for a null user, an unknown plan or '
  'an unknown time zone.';

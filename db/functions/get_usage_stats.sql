create or replace function credits.get_usage_stats(p_user_id uuid)
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_account credits.accounts;
  v_now timestamptz;
  v_limit numeric;
  v_period text;
  v_number integer;
  v_start timestamptz;
  v_end timestamptz;
  v_first_no integer;
  v_next_no integer;
  v_used numeric;
  v_totals jsonb;
begin
  perform credits.check_argument(p_user_id is not null, 'p_user_id', 'must not be null');
  select a.* into v_account from credits.accounts a where a.user_id = p_user_id;
  if not found then
    return credits.outcome('unknown_account', jsonb_build_object('user_id', p_user_id));
  end if;
  v_now := greatest(credits.clock_now(), (
    select w.last_entry_at from credits.wallets w where w.user_id = p_user_id and w.credit_type = 'credits'));
  select p.amount, p.period into v_limit, v_period
  from credits.plan_allowances p
  where p.plan_id = v_account.plan_id and p.credit_type = 'credits' and p.period <> 'once';
  v_period := coalesce(v_period, 'month');
  v_number := credits.period_number(v_account.period_anchor, v_account.time_zone, v_period, v_now);
  v_start := credits.period_start(v_account.period_anchor, v_account.time_zone, v_period, v_number);
  v_end := credits.period_start(v_account.period_anchor, v_account.time_zone, v_period, v_number + 1);
  v_first_no := credits.period_number(v_account.period_anchor, v_account.time_zone, 'day', v_start);
  v_next_no := credits.period_number(v_account.period_anchor, v_account.time_zone, 'day', v_end);

  with used as (
    select d.action_type, d.uses, d.quantity, d.amount - d.refunded as credits
    from credits.usage_daily d
    where d.user_id = p_user_id and d.credit_type = 'credits'
      -- The days find the rows, a day more on both sides for those of a time zone that the account had before; the number decides.
      and d.day between (v_start at time zone v_account.time_zone)::date - 1 and (v_end at time zone v_account.time_zone)::date + 1
      and d.period_no >= v_first_no and d.period_no < v_next_no
    union all
    select t.action_type, t.uses, t.quantity, t.credits
    from credits.usage_tail(p_user_id, 'credits', v_start) t
    where t.created_at < v_end
  ), totals as (
    select u.action_type, sum(u.uses) as uses, sum(u.quantity) as quantity, sum(u.credits) as credits
    from used u
    group by u.action_type
  )
  select
    coalesce(sum(t.credits), 0),
    coalesce(jsonb_agg(jsonb_build_object(
      'action_type', t.action_type,
      'action_name', coalesce(c.action_name, t.action_type),
      'uses', t.uses,
      'quantity', trim_scale(t.quantity),
      'credits', trim_scale(t.credits)) order by t.credits desc, t.action_type), '[]')
  into v_used, v_totals
  from totals t
  left join credits.credit_costs c on c.action_type = t.action_type;
  -- More can have been given back in this period than was used in it.
  v_used := greatest(v_used, 0);

  return credits.outcome('ok', jsonb_build_object(
    'user_id', p_user_id,
    'credit_type', 'credits',
    'used', trim_scale(v_used),
    'limit', trim_scale(v_limit),
    'remaining', credits.get_credit_balance(p_user_id) -> 'total',
    'percentage', trim_scale(round(100 * v_used / v_limit, 2)),
    'period', jsonb_build_object('start', v_start, 'end', v_end, 'period', v_period),
    'account_level', v_account.plan_id,
    'totals', v_totals));
end
$$;

comment on function credits.get_usage_stats(uuid) is
  'What a user has used of the credits in the running allowance period (a month from the account''s anchor where the plan renews none): used (less refunds, not below 0), limit (the plan''s allowance, null if it '
  'renews none), remaining (all that can be spent now), percentage (used of limit, two decimals, null without a limit), period {start, end, period}, account_level (the plan) and '
  'totals, an array of {action_type, action_name, uses, quantity, credits (less refunds)} with the most expensive action first. What chat sessions owe counts once it is paid. Code ok or unknown_account. Reads '
  'the period''s roll-ups and the ledger behind them; locks nothing. Raises UC001 for a null user.';

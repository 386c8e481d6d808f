create or replace function credits.get_feature_usage(
  p_user_id uuid,
  p_action_type text default null
)
returns table (
  action_type text,
  action_name text,
  daily_uses bigint,
  weekly_uses bigint,
  monthly_uses bigint,
  daily_credits numeric,
  weekly_credits numeric,
  monthly_credits numeric,
  average_credits_per_action numeric
)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_time_zone text;
  v_now timestamptz;
  v_today date;
begin
  perform credits.check_argument(p_user_id is not null, 'p_user_id', 'must not be null');
  perform credits.check_argument(coalesce(length(p_action_type) between 1 and 100, true), 'p_action_type', 'must have 1 to 100 characters');
  select a.time_zone into v_time_zone from credits.accounts a where a.user_id = p_user_id;
  if not found then
    return;
  end if;
  v_now := greatest(credits.clock_now(), (select max(w.last_entry_at) from credits.wallets w where w.user_id = p_user_id));
  v_today := (v_now at time zone v_time_zone)::date;

  return query
    with used as (
      select d.action_type, d.day, d.uses, d.amount - d.refunded as credits
      from credits.usage_daily d
      where d.user_id = p_user_id and d.day > v_today - 30
      union all
      select t.action_type, (t.created_at at time zone v_time_zone)::date, t.uses, t.credits
      from credits.wallets w
      cross join lateral credits.usage_tail(w.user_id, w.credit_type, v_now - interval '32 days') t
      where w.user_id = p_user_id
      union all
      -- Who asks for one action gets its row, be it of zeros.
      select c.action_type, v_today, 0, 0
      from credits.credit_costs c
      where c.action_type = p_action_type
    ), totals as (
      select u.action_type,
        sum(u.uses) filter (where u.day = v_today)::bigint as daily_uses,
        sum(u.uses) filter (where u.day > v_today - 7)::bigint as weekly_uses,
        sum(u.uses)::bigint as monthly_uses,
        sum(u.credits) filter (where u.day = v_today) as daily_credits,
        sum(u.credits) filter (where u.day > v_today - 7) as weekly_credits,
        sum(u.credits) as monthly_credits
      from used u
      where u.day > v_today - 30 and (p_action_type is null or u.action_type = p_action_type)
      group by u.action_type
    )
    select t.action_type, coalesce(c.action_name, t.action_type),
      coalesce(t.daily_uses, 0), coalesce(t.weekly_uses, 0), t.monthly_uses,
      trim_scale(coalesce(t.daily_credits, 0)), trim_scale(coalesce(t.weekly_credits, 0)), trim_scale(t.monthly_credits),
      trim_scale(round(t.monthly_credits / nullif(t.monthly_uses, 0), 6))
    from totals t
    left join credits.credit_costs c on c.action_type = t.action_type
    order by t.action_type;
end
$$;

comment on function credits.get_feature_usage(uuid, text) is
  'How often a user used each action, and for how many credits (of the action''s credit type, less refunds): today, in the last 7 and in the last 30 days, today included, days in '
  'the account''s time zone; and the average credits per use in the 30 days (null without uses). A row per action used or refunded in the 30 days, by name; '
  'with p_action_type its row alone, of zeros if need be. What chat sessions owe counts once it is paid. No rows for an unknown account. Reads 30 days of roll-ups and the ledger behind them; locks nothing. '
  'Raises UC001 for malformed arguments.';

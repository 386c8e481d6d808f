create or replace function credits.mean_usage(
  p_user_id uuid,
  p_credit_type text,
  p_hour timestamptz
)
returns numeric
language plpgsql
stable
as $$
declare
  v_account credits.accounts;
  v_day date;
  v_begin timestamptz;
  v_used numeric;
begin
  select a.* into v_account from credits.accounts a where a.user_id = p_user_id;
  v_day := (p_hour at time zone v_account.time_zone)::date;
  v_begin := v_day::timestamp at time zone v_account.time_zone;
  select coalesce(sum(u.amount), 0) into v_used
  from (
    select d.amount
    from credits.usage_daily d
    where d.user_id = p_user_id and d.credit_type = p_credit_type and d.day >= v_day - 7 and d.day < v_day
    union all
    select t.credits
    from credits.usage_tail(p_user_id, p_credit_type, v_begin - interval '7 days') t
    where t.uses > 0 and t.created_at < v_begin
  ) u;
  -- An account that is younger than the seven days has had fewer hours; a few are no measure.
  return v_used / least(greatest(extract(epoch from v_begin - v_account.created_at) / 3600, 24), 168);
end
$$;

comment on function credits.mean_usage(uuid, text, timestamptz) is
  'Internal. What a wallet uses in an hour, refunds aside: the mean of the seven days (of the account''s time zone) before the day of an hour, or of as many of them as the account has existed, but no '
  'less than one. From the roll-ups, and from the ledger for what is not rolled up yet.';

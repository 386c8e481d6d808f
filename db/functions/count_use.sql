create or replace function credits.count_use(
  p_user_id uuid,
  p_action_type text,
  p_period text,
  p_period_no integer,
  p_quantity numeric
)
returns text
language plpgsql
volatile
as $$
begin
  if p_period is null then
    return null;
  end if;
  insert into credits.usage_counters (user_id, action_type, period, period_no, used)
  values (p_user_id, p_action_type, p_period, p_period_no, p_quantity)
  on conflict (user_id, action_type, period, period_no) do update set used = usage_counters.used + excluded.used;
  return p_period || ' ' || p_period_no;
end
$$;

comment on function credits.count_use(uuid, text, text, integer, numeric) is
  'Internal. Counts priced units of a limited action in a period; nothing where the period is null. Returns '
  'counted_in for the usage entry. Under the lock of the action''s wallet.';

create or replace function credits.period_number(
  p_anchor timestamptz,
  p_time_zone text,
  p_period text,
  p_at timestamptz
)
returns integer
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_anchor timestamp := p_anchor at time zone p_time_zone;
  v_at timestamp := p_at at time zone p_time_zone;
  v_number integer := case p_period
    when 'day' then v_at::date - v_anchor::date
    else (extract(year from v_at) - extract(year from v_anchor)) * 12 + extract(month from v_at) - extract(month from v_anchor)
  end;
begin
  if credits.period_start(p_anchor, p_time_zone, p_period, v_number) > p_at then
    return v_number - 1;
  end if;
  return v_number;
end
$$;

comment on function credits.period_number(timestamptz, text, text, timestamptz) is
  'Internal. The number of the period that a moment falls into.';

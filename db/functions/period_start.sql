create or replace function credits.period_start(
  p_anchor timestamptz,
  p_time_zone text,
  p_period text,
  p_period_no integer
)
returns timestamptz
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  -- Always counted from the anchor: adding month to month would drift from the 31st to the 28th for good.
  return ((p_anchor at time zone p_time_zone)
    + p_period_no * (case p_period when 'day' then interval '1 day' else interval '1 month' end)) at time zone p_time_zone;
end
$$;

comment on function credits.period_start(timestamptz, text, text, integer) is
  'Internal. When the numbered period (0 begins at the anchor) starts, n days or months later on the wall clock of the zone.';

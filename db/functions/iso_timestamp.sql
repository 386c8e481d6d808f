create or replace function credits.iso_timestamp(p_text text)
returns timestamptz
language plpgsql
stable
as $$
declare
  v_parts integer[];
begin
  if p_text !~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})$' then
    return null;
  end if;
  -- Looked at part by part, because a cast that fails could only be caught by an exception block.
  v_parts := array[substr(p_text, 1, 4), substr(p_text, 6, 2), substr(p_text, 9, 2), substr(p_text, 12, 2), substr(p_text, 15, 2),
    substr(p_text, 18, 2), coalesce(substring(p_text from '[+-]([0-9]{2}):[0-9]{2}$'), '0'), coalesce(substring(p_text from '[+-][0-9]{2}:([0-9]{2})$'), '0')]::integer[];
  if v_parts[1] < 1 or v_parts[2] not between 1 and 12 or v_parts[3] < 1 or v_parts[4] > 23 or v_parts[5] > 59 or v_parts[6] > 59
    or v_parts[7] > 14 or v_parts[8] > 59 then
    return null;
  end if;
  if v_parts[3] > extract(day from make_date(v_parts[1], v_parts[2], 1) + interval '1 month' - interval '1 day') then
    return null;
  end if;
  return p_text::timestamptz;
end
$$;

comment on function credits.iso_timestamp(text) is
  'Internal. The moment that an ISO 8601 text names (2026-01-31T23:59:59.123Z, or with an offset such as +02:00), or null if it names none. Raises nothing.';

create or replace function credits.is_time_zone(p_time_zone text)
returns boolean
language plpgsql
stable
as $$
begin
  -- PostgreSQL also takes abbreviations and POSIX rules, which know no daylight saving of a place. A POSIX rule has a digit.
  if p_time_zone is null or p_time_zone !~ '^(UTC|Etc/GMT[+-][0-9]{1,2}|[A-Za-z_]{1,30}(/[A-Za-z_-]{1,30}){1,2})$' then
    return false;
  end if;
  perform now() at time zone p_time_zone;
  return true;
exception
  when invalid_parameter_value then
    return false;
end
$$;

comment on function credits.is_time_zone(text) is 'Internal. Whether a text names a time zone of the IANA database.';

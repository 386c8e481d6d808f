create or replace function credits.clock_now()
returns timestamptz
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  return clock_timestamp();
end
$$;

comment on function credits.clock_now() is
  'The engine''s only clock: the wall clock. A test replaces it in a database of its own to travel in time.';

create or replace function credits.clock_now()
returns timestamptz
language sql
volatile
as $$
  select pg_catalog.clock_timestamp()
$$;

comment on function credits.clock_now() is
  'The engine''s only clock: the wall clock. A test replaces it in a database of its own to travel in time.';

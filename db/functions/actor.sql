create or replace function credits.actor()
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return nullif(left(current_setting('credits.actor', true), 255), '');
end
$$;

comment on function credits.actor() is
  'Internal. On whose behalf the session acts: the setting credits.actor, which an application sets for its transaction; null if it did not, or set it to nothing.';

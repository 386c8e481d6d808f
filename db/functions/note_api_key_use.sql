create or replace function credits.note_api_key_use(p_key_id text)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := credits.clock_now();
begin
  update credits.api_keys k
  set last_used_at = v_now
  where k.key_id = p_key_id and coalesce(k.last_used_at < v_now - interval '1 minute', true);
end
$$;

comment on function credits.note_api_key_use(text) is
  'Notes that a key of the HTTP API was used, to the minute. Locks its row.';

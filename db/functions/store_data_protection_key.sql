create or replace function credits.store_data_protection_key(
  p_friendly_name text,
  p_xml text
)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := credits.clock_now();
begin
  perform credits.check_argument(length(p_friendly_name) between 1 and 255, 'p_friendly_name', 'must have 1 to 255 characters');
  perform credits.check_argument(length(p_xml) between 1 and 65536, 'p_xml', 'must have 1 to 65536 characters');
  insert into credits.data_protection_keys (friendly_name, xml, created_at)
  values (p_friendly_name, p_xml, v_now)
  on conflict do nothing;
end
$$;

comment on function credits.store_data_protection_key(text, text) is
  'Keeps a key of the host''s, or its revocation; one that is there stays as it is. Raises UC001 for malformed arguments. Locks nothing else.';

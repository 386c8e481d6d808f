create or replace function credits.list_api_keys()
returns table (
  key_id text,
  key_name text,
  scopes text[],
  for_user uuid,
  created_at timestamptz,
  created_by text,
  expires_at timestamptz,
  revoked_at timestamptz,
  last_used_at timestamptz
)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  return query
  select k.key_id, k.key_name, k.scopes, k.for_user, k.created_at, k.created_by, k.expires_at, k.revoked_at, k.last_used_at
  from credits.api_keys k
  order by k.created_at desc, k.key_id;
end
$$;

comment on function credits.list_api_keys() is
  'The keys of the HTTP API, newest first, without what they are checked by. Locks nothing.';

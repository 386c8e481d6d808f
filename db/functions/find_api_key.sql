create or replace function credits.find_api_key(p_key_id text)
returns table (scopes text[], for_user uuid, hash_key bytea, hash bytea, expires_at timestamptz)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  return query
  select k.scopes, k.for_user, k.hash_key, k.hash, k.expires_at
  from credits.api_keys k
  where k.key_id = p_key_id and k.revoked_at is null and coalesce(k.expires_at > credits.clock_now(), true)
    and (k.for_user is null or exists (select from credits.accounts a where a.user_id = k.for_user and a.status <> 'closed'));
end
$$;

comment on function credits.find_api_key(text) is
  'What a key of the HTTP API is checked by: one row, or none if it is unknown, revoked or expired, or its user''s account is closed. Locks nothing.';

create or replace function credits.create_api_key(
  p_key_id text,
  p_key_name text,
  p_scopes text[],
  p_hash_key bytea,
  p_hash bytea,
  p_for_user uuid default null,
  p_expires_at timestamptz default null
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  c_kinds constant text[] := '{service,user,admin}';
  v_now timestamptz := credits.clock_now();
  v_kinds integer;
begin
  perform credits.check_argument(p_key_id ~ '^[a-z2-7]{12}$', 'p_key_id', 'must be 12 characters of a to z and 2 to 7');
  perform credits.check_argument(length(p_key_name) between 1 and 100, 'p_key_name', 'must have 1 to 100 characters');
  perform credits.check_argument(cardinality(p_scopes) between 1 and 20, 'p_scopes', 'must name 1 to 20 scopes');
  perform credits.check_argument(not exists (
    select from unnest(p_scopes) s where s is null or not (s = any (c_kinds) or s ~ '^spend(:[^:]{1,100})?$')),
    'p_scopes', 'must be service, user, admin, spend or spend:ACTION');
  select count(*) into v_kinds from unnest(p_scopes) s where s = any (c_kinds);
  perform credits.check_argument(v_kinds = 1, 'p_scopes', 'must name exactly one of service, user and admin');
  perform credits.check_argument('user' = any (p_scopes) or cardinality(p_scopes) = 1, 'p_scopes', 'must name spend for the scope user only');
  perform credits.check_argument((p_for_user is not null) = ('user' = any (p_scopes)), 'p_for_user',
    'must be given for the scope user, and for no other');
  perform credits.check_argument(octet_length(p_hash_key) between 16 and 64, 'p_hash_key', 'must have 16 to 64 bytes');
  perform credits.check_argument(octet_length(p_hash) = 32, 'p_hash', 'must have 32 bytes');
  perform credits.check_argument(coalesce(isfinite(p_expires_at) and p_expires_at > v_now, true), 'p_expires_at', 'must lie in the future, and not at its end');
  if p_for_user is not null and not exists (select from credits.accounts a where a.user_id = p_for_user) then
    return credits.outcome('unknown_account', jsonb_build_object('user_id', p_for_user));
  end if;

  insert into credits.api_keys (key_id, key_name, scopes, for_user, hash_key, hash, created_at, created_by, expires_at)
  values (p_key_id, p_key_name, p_scopes, p_for_user, p_hash_key, p_hash, v_now, credits.actor(), p_expires_at)
  on conflict do nothing;
  if not found then
    perform credits.fail('UC350', 'there is a key of this name', jsonb_build_object('code', 'name_taken', 'key_name', p_key_name));
  end if;
  return credits.outcome('ok', jsonb_build_object('key_id', p_key_id, 'key_name', p_key_name, 'scopes', to_jsonb(p_scopes),
    'for_user', p_for_user, 'created_at', v_now, 'expires_at', p_expires_at));
end
$$;

comment on function credits.create_api_key(text, text, text[], bytea, bytea, uuid, timestamptz) is
  'Stores a key of the HTTP API, whose secret the host made: p_hash is HMAC-SHA256 of the secret under p_hash_key. Scopes: service, admin, or user (with '
  'p_for_user) and spend or spend:ACTION. Returns code ok or unknown_account, key_id, key_name, scopes, for_user, created_at, expires_at. Raises UC001 for '
  'malformed arguments, UC350 if a key that is not revoked has the name. Locks nothing else.';

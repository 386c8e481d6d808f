create or replace function credits.revoke_api_key(p_key_id text)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := credits.clock_now();
  v_key credits.api_keys;
begin
  update credits.api_keys k
  set revoked_at = coalesce(k.revoked_at, v_now)
  where k.key_id = p_key_id
  returning k.* into v_key;
  if v_key.key_id is null then
    return credits.outcome('not_found', jsonb_build_object('key_id', p_key_id));
  end if;
  return credits.outcome('ok', jsonb_build_object('key_id', p_key_id, 'key_name', v_key.key_name,
    'revoked_at', v_key.revoked_at));
end
$$;

comment on function credits.revoke_api_key(text) is
  'Ends a key of the HTTP API, and with it the tokens that were minted by it; hosts notice within seconds. Returns code ok (also when it was revoked '
  'before) or not_found, key_id, key_name, revoked_at. Locks its row.';

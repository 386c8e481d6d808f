create or replace function credits.replay_key(
  p_key credits.charge_keys,
  p_fingerprint text
)
returns jsonb
language plpgsql
volatile
as $$
begin
  if p_key.fingerprint <> p_fingerprint then
    perform credits.fail('UC201', 'the idempotency key was used for another request',
      jsonb_build_object('code', 'key_reused', 'key', p_key.key, 'first_request', p_key.fingerprint, 'this_request', p_fingerprint));
  end if;
  return p_key.result || '{"replayed": true}';
end
$$;

comment on function credits.replay_key(credits.charge_keys, text) is
  'Internal. The stored result of a request that was made before, marked replayed. Raises UC201 if the key was used for another request.';

create or replace function credits.replay_key(
  p_key credits.charge_keys,
  p_fingerprint text default null
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
  return coalesce(p_key.result, credits.outcome('ok', '{"log_id": null}')) || '{"replayed": true}';
end
$$;

comment on function credits.replay_key(credits.charge_keys, text) is
  'Internal. The result of a request that was made before, or of a row that was charged, marked replayed; a row that was charged under another identity has no entry. '
  'Raises UC201 if the key was used for another request.';

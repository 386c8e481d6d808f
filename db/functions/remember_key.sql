create or replace function credits.remember_key(
  p_user_id uuid,
  p_credit_type text,
  p_key text,
  p_function_name text,
  p_fingerprint text,
  p_entry_no bigint,
  p_result jsonb,
  p_now timestamptz
)
returns void
language plpgsql
volatile
as $$
begin
  perform credits.take_key(p_user_id, p_credit_type, p_key, p_now);
  insert into credits.charge_keys
    (user_id, credit_type, source, key, function_name, fingerprint, entry_no, result, created_at, expires_at)
  values
    (p_user_id, p_credit_type, 'caller', p_key, p_function_name, p_fingerprint, p_entry_no, p_result, p_now, p_now + interval '720 hours')
  -- The caller looked under the wallet's lock, so what conflicts can only be a key that has expired.
  on conflict (user_id, credit_type, source, key) do update set
    function_name = excluded.function_name,
    fingerprint = excluded.fingerprint,
    entry_no = excluded.entry_no,
    result = excluded.result,
    created_at = excluded.created_at,
    expires_at = excluded.expires_at;
end
$$;

comment on function credits.remember_key(uuid, text, text, text, text, bigint, jsonb, timestamptz) is
  'Internal. Stores a caller''s idempotency key with its result for 30 days, in the same transaction as the effect and under the wallet''s lock. Raises UC202, '
  'which undoes the effect, for a key that was used before erase_user_data().';

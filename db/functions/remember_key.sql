create or replace function credits.remember_key(
  p_user_id uuid,
  p_credit_type text,
  p_source text,
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
  if p_source <> 'caller' then
    insert into credits.charge_keys (user_id, credit_type, source, key, function_name, entry_no, created_at, expires_at)
    values (p_user_id, p_credit_type, p_source, p_key, p_function_name, p_entry_no, p_now, 'infinity');
    return;
  end if;
  if exists (
    select
    from credits.charge_keys k
    where k.user_id = p_user_id and k.credit_type = p_credit_type and k.source = 'erased' and k.key = credits.erased_key(p_user_id, p_key)
      and k.expires_at > p_now)
  then
    perform credits.fail('UC202', 'the idempotency key was used before the user''s data were erased', jsonb_build_object('code', 'key_erased'));
  end if;
  insert into credits.charge_keys
    (user_id, credit_type, source, key, function_name, fingerprint, entry_no, result, created_at, expires_at)
  values
    (p_user_id, p_credit_type, p_source, p_key, p_function_name, p_fingerprint, p_entry_no, p_result, p_now, p_now + interval '30 days')
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

comment on function credits.remember_key(uuid, text, text, text, text, text, bigint, jsonb, timestamptz) is
  'Internal. Stores a key with its effect, in the same transaction and under the wallet''s lock. A row''s identity stays for ever, a '
  'caller''s key for 30 days. Raises UC202, which undoes the effect, for a key that was used before erase_user_data().';

create or replace function credits.take_key(
  p_user_id uuid,
  p_credit_type text,
  p_key text,
  p_now timestamptz
)
returns void
language plpgsql
volatile
as $$
begin
  if exists (
    select
    from credits.charge_keys k
    where k.user_id = p_user_id and k.credit_type = p_credit_type and k.source = 'erased' and k.key = credits.erased_key(p_user_id, p_key)
      and k.expires_at > p_now)
  then
    perform credits.fail('UC202', 'the idempotency key was used before the user''s data were erased', jsonb_build_object('code', 'key_erased'));
  end if;
  update credits.credit_ledger l
  set idempotency_key = null, key_hash = null
  where l.key_hash = credits.key_hash(p_user_id, p_key)
    and (l.user_id = p_user_id and l.credit_type = p_credit_type and l.idempotency_key = p_key) is true;
end
$$;

comment on function credits.take_key(uuid, text, text, timestamptz) is
  'Internal. Makes a caller''s idempotency key free to be stored: the entry that still has it can only be of a use that has expired, as the caller looked for it under '
  'the wallet''s lock. Raises UC202 for a key that was used before erase_user_data().';

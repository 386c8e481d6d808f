create or replace function credits.erased_key(
  p_user_id uuid,
  p_key text
)
returns text
language plpgsql
immutable
as $$
begin
  return encode(sha256(convert_to(p_user_id || ':' || p_key, 'UTF8')), 'hex');
end
$$;

comment on function credits.erased_key(uuid, text) is 'Internal. What erase_user_data() leaves of a caller''s idempotency key.';

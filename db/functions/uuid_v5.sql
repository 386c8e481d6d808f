create or replace function credits.uuid_v5(
  p_namespace uuid,
  p_name text
)
returns uuid
language plpgsql
immutable
strict
set search_path = pg_catalog, pg_temp
as $$
declare
  v_hash bytea := credits.sha1(uuid_send(p_namespace) || convert_to(p_name, 'UTF8'));
begin
  v_hash := set_byte(v_hash, 6, (get_byte(v_hash, 6) & 15) | 80);
  v_hash := set_byte(v_hash, 8, (get_byte(v_hash, 8) & 63) | 128);
  return encode(substring(v_hash from 1 for 16), 'hex')::uuid;
end
$$;

comment on function credits.uuid_v5(uuid, text) is 'Internal. The UUID of version 5 (RFC 9562) of a name within a namespace.';

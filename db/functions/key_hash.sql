create or replace function credits.key_hash(
  p_user_id uuid,
  p_key text
)
returns bigint
language sql
immutable
strict
parallel safe
as $$
  select pg_catalog.hashtextextended(p_key collate pg_catalog."C", pg_catalog.uuid_hash_extended(p_user_id, 0))
$$;

comment on function credits.key_hash(uuid, text) is
  'Internal. What an entry is found by that was charged for a row or with a key: of its bytes, whatever the collation. Has no setting, so that the planner '
  'inlines it.';

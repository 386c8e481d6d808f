create or replace function credits.known_rows(
  p_user_id uuid,
  p_credit_type text,
  p_source text,
  p_row_ids text[],
  p_with_listed boolean
)
returns setof text
language plpgsql
stable
-- As verify_slice() is.
parallel safe
set search_path = pg_catalog, pg_temp
-- Row by row a look into an index; planned while there was little to look through, it would be a look through everything.
set enable_seqscan = off
set plan_cache_mode = force_generic_plan
set jit = off
as $$
begin
  return query
    select r.id
    from unnest(p_row_ids) as r (id)
    cross join lateral (
      select true
      from credits.credit_ledger l
      where l.key_hash = credits.key_hash(p_user_id, r.id)
        and (l.user_id = p_user_id and l.credit_type = p_credit_type and l.row_source = p_source and l.row_id = r.id) is true
      union all
      select true
      from credits.charge_keys k
      where k.user_id = p_user_id and k.credit_type = p_credit_type and k.source = p_source and k.key = r.id
        -- Most users have none: one look.
        and exists (select from credits.charge_keys o where o.user_id = p_user_id and o.credit_type = p_credit_type and o.source = p_source)
      union all
      select true
      from credits.uncharged_rows u
      where u.user_id = p_user_id and u.source = p_source and u.row_id = r.id
        and p_with_listed and exists (select from credits.uncharged_rows o where o.user_id = p_user_id and o.source = p_source)
      limit 1
    ) known;
end
$$;

comment on function credits.known_rows(uuid, text, text, text[], boolean) is
  'Internal. Which rows of a table are charged and, with p_with_listed, listed as uncharged, as the calling statement''s snapshot sees them.';

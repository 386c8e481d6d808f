create or replace function credits.known_rows(
  p_user_id uuid,
  p_credit_type text,
  p_source text,
  p_row_ids text[],
  p_with_listed boolean
)
returns setof text
language sql
stable
as $$
  -- Row by row: an array as a condition would, for a plan made while there were few keys, be compared with every key that the user has.
  select r.id
  from unnest(p_row_ids) as r (id)
  cross join lateral (
    select true
    from credits.credit_ledger l
    where l.user_id = p_user_id and l.credit_type = p_credit_type and l.row_source = p_source and l.row_id = r.id
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
  ) known
$$;

comment on function credits.known_rows(uuid, text, text, text[], boolean) is
  'Internal. Which rows of a table are charged and, with p_with_listed, listed as uncharged. Has no setting, so that the planner inlines it.';

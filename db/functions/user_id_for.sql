create or replace function credits.user_id_for(
  p_issuer text,
  p_subject text
)
returns uuid
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  perform credits.check_argument(length(p_issuer) between 1 and 255, 'p_issuer', 'must have 1 to 255 characters');
  perform credits.check_argument(length(p_subject) between 1 and 255, 'p_subject', 'must have 1 to 255 characters');
  -- The first namespace is the RFC's for URLs.
  return credits.uuid_v5(credits.uuid_v5('6ba7b811-9dad-11d1-80b4-00c04fd430c8', p_issuer), p_subject);
end
$$;

comment on function credits.user_id_for(text, text) is
  'The user id of somebody known by another id: uuid5(uuid5(NAMESPACE_URL, issuer), subject), so that any UUID library finds the same. '
  'Locks and writes nothing. Raises UC001 for a null, empty or longer than 255 characters issuer or subject.';

create or replace function credits.get_data_protection_keys()
returns table (xml text)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  return query
  select k.xml
  from credits.data_protection_keys k
  order by k.created_at, k.friendly_name;
end
$$;

comment on function credits.get_data_protection_keys() is
  'The host''s keys for tokens and stored secrets, as ASP.NET''s data protection wrote them. Locks nothing.';

create or replace function credits.fail(
  p_sqlstate text,
  p_message text,
  p_detail jsonb
)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  raise exception using errcode = p_sqlstate, message = p_message, detail = p_detail::text;
end
$$;

comment on function credits.fail(text, text, jsonb) is
  'Internal. Raises an error of class UC with a stable message and a JSON DETAIL.';

create or replace function credits.id_before(p_id uuid)
returns uuid
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_parts text[] := regexp_match(replace(p_id::text, '-', ''), '^(.*)([1-9a-f])(0*)$');
begin
  return (v_parts[1] || translate(v_parts[2], '123456789abcdef', '0123456789abcde') || repeat('f', length(v_parts[3])))::uuid;
end
$$;

comment on function credits.id_before(uuid) is
  'Internal. The id next below another one, so that ranges of ids can touch; null for the lowest.';

create or replace function credits.trigger_signature(p_trigger_oid oid)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
as $$
begin
  -- From FOR EACH on, the definition names neither the trigger nor its table, so it survives renames and holds for every partition.
  return (
    select concat_ws(' ', t.tgtype, t.tgattr, t.tgnewtable, substring(pg_get_triggerdef(t.oid) from ' (FOR EACH (?:ROW|STATEMENT) .*)$'))
    from pg_trigger t
    where t.oid = p_trigger_oid
  );
end
$$;

comment on function credits.trigger_signature(oid) is
  'Internal. When a trigger fires, on which columns, its condition, its function and its arguments, as one comparable text.';

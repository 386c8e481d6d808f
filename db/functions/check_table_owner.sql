create or replace function credits.check_table_owner(p_relation regclass)
returns void
language plpgsql
volatile
as $$
begin
  -- The session's user, as the callers run with the engine's rights. A table that is gone has no owner to ask.
  if exists (select from pg_class c where c.oid = p_relation and not pg_has_role(session_user, c.relowner, 'member')) then
    perform credits.fail('UC402', 'only the owner of a table decides how its rows are charged',
      jsonb_build_object('code', 'not_the_owner', 'table', p_relation, 'user', session_user));
  end if;
end
$$;

comment on function credits.check_table_owner(regclass) is
  'Internal. Raises UC402 unless the session''s user is, or may become, the owner of the table.';

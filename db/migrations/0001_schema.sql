-- The schema that holds the engine, and the role that owns everything in it. Nobody logs in as that role: the
-- engine's functions run with its rights, so whoever may write a wallet is decided by EXECUTE alone.
do $$
begin
  if not exists (select from pg_catalog.pg_roles where rolname = '$role_prefix$_owner') then
    create role $role_prefix$_owner nologin;
  end if;
  if not pg_has_role('$role_prefix$_owner', 'usage') then
    grant $role_prefix$_owner to current_user;
  end if;
exception
  when insufficient_privilege then
    raise exception using
      errcode = 'UC401',
      message = format('%s may neither create the roles of CreditDb nor join them', current_user),
      detail = json_build_object('role', '$role_prefix$_owner', 'user', current_user)::text,
      hint = format('A DBA runs once: ALTER ROLE %I CREATEROLE; or creates the roles by hand: CREATE ROLE $role_prefix$_owner NOLOGIN; '
        'GRANT $role_prefix$_owner TO %I WITH ADMIN OPTION; and likewise $role_prefix$_app, _admin, _reader and _user.', current_user, current_user);
end
$$;

create schema if not exists credits;

alter schema credits owner to $role_prefix$_owner;

comment on schema credits is 'CreditDb: usage credits, charged in the transaction of the row that uses them.';

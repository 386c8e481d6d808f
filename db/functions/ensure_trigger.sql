create or replace function credits.ensure_trigger(
  p_source text,
  p_relation regclass,
  p_name text,
  p_event text,
  p_action text
)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_definition text := p_event || ' ' || p_action;
  v_trigger_oid oid;
  v_enabled "char";
  v_registered text;
begin
  select t.oid, t.tgenabled into v_trigger_oid, v_enabled
  from pg_trigger t
  where t.tgrelid = p_relation and t.tgname = p_name;

  -- The trigger's comment holds the definition it was made from. While that is the same, the table is not even locked.
  -- A trigger that was replaced keeps its comment, so it must also be what was registered.
  v_registered := (select nullif(a.triggers ->> p_name, '') from credits.charge_attachments a where a.source = p_source);
  if v_trigger_oid is null or obj_description(v_trigger_oid, 'pg_trigger') is distinct from v_definition
    or v_registered <> credits.trigger_signature(v_trigger_oid)
  then
    if v_trigger_oid is not null then
      execute format('drop trigger %I on %s', p_name, p_relation);
    end if;
    execute format('create trigger %I %s on %s %s', p_name, p_event, p_relation, p_action);
    execute format('comment on trigger %I on %s is %L', p_name, p_relation, v_definition);
    if v_enabled <> 'O' then
      execute format('alter table %s %s trigger %I', p_relation,
        case v_enabled when 'D' then 'disable' when 'R' then 'enable replica' else 'enable always' end, p_name);
    end if;
  end if;

  if p_source is not null then
    perform credits.register_trigger(p_source, p_name, credits.trigger_signature(t.oid))
    from pg_trigger t
    where t.tgrelid = p_relation and t.tgname = p_name;
  end if;
end
$$;

comment on function credits.ensure_trigger(text, regclass, text, text, text) is
  'Internal. Creates a trigger, or replaces one that was made from another definition; one that a DBA disabled stays disabled. Runs with the '
  'rights of its caller, who must own the table; locks the table only to change something.';

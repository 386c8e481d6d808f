-- The text of docs/sql-api.md, made of the catalog alone, under the settings of SqlReference.
with topics (n, title, pattern) as (
  -- A function belongs to the topic that its name matches, and to administration where it matches none.
  values
    (1, 'Balance and history', '^(get_credit_balance|get_balance_at)$'),
    (2, 'Charging', '^(can_perform_action|deduct_(call_)?credits.*|charge_uncharged)$'),
    (3, 'Holds and refunds', '(^reserve_credits|_reservation|^refund_credits)$'),
    (4, 'Accounts and plans', '^(change_plan|set_(plan|allowance|feature)|[a-z]+_account|erase_user_data|set_threshold|read_notifications|user_id_for)$'),
    (5, 'Purchases', '(_purchase|_purchased_credits|_packages?|_payment|_payment_event|_dispute)$'),
    (6, 'Chat', '^([a-z]+_chat_(message|session|time))$'),
    (7, 'Usage', '^(track_usage_.*|get_.*_usage|get_usage_.*|roll_up_usage)$'),
    (8, 'Administration', null),
    (9, 'Triggers and attachments', '^(attach|detach)_'),
    (10, 'Verification', '^verify_'),
    (11, 'Worker and alerts', '^(settle_due_wallets|notify_expiring|expire_purchases|roll_up_next|find_anomalies|forget_keys|get_worker_state|list_alerts|acknowledge_alert)$'),
    (12, 'Webhooks', '_webhooks?(_|$)')
), roles as (
  select r.oid, k.name, k.n
  from (values (1, 'app'), (2, 'admin'), (3, 'reader'), (4, 'user')) k (n, name)
  join pg_catalog.pg_namespace s on s.nspname = 'credits'
  join pg_catalog.pg_roles o on o.oid = s.nspowner
  join pg_catalog.pg_roles r on r.rolname = regexp_replace(o.rolname, 'owner$', k.name)
), functions as (
  select
    p.proname as name,
    pg_catalog.pg_get_function_identity_arguments(p.oid) as identity,
    p.prorettype = 'trigger'::regtype as is_trigger,
    case when p.prorettype = 'trigger'::regtype then 9
      else coalesce((select min(t.n) from topics t where p.proname ~ t.pattern), 8)
    end as topic,
    -- Written as one writes it: no casts after literals, short names of types.
    regexp_replace(replace(replace(pg_catalog.pg_get_function_arguments(p.oid), ' DEFAULT ', ' default '), 'NULL::', 'null::'),
      '( default (?:''(?:[^'']|'''')*''|null))::[a-z][a-z0-9_. ]*(?:\[\])?', '\1', 'g') as arguments,
    regexp_replace(regexp_replace(pg_catalog.pg_get_function_result(p.oid), '^TABLE', 'table '), '^SETOF', 'setof') as result,
    regexp_replace(pg_catalog.obj_description(p.oid, 'pg_proc'), '([<*|])', '\\\1', 'g') as comment,
    c.callers
  from pg_catalog.pg_proc p
  cross join lateral (
    select string_agg(r.name, ', ' order by r.n) as callers
    from roles r
    join aclexplode(p.proacl) x on x.grantee = r.oid and x.privilege_type = 'EXECUTE'
  ) c
  where p.pronamespace = 'credits'::regnamespace and (c.callers is not null or p.prorettype = 'trigger'::regtype)
    and pg_catalog.obj_description(p.oid, 'pg_proc') !~ '^Internal\.'
), relations as (
  select
    c.oid,
    c.relname as name,
    case c.relkind when 'v' then 2 else 1 end as kind,
    regexp_replace(pg_catalog.obj_description(c.oid, 'pg_class'), '([<*|])', '\\\1', 'g') as comment,
    (select string_agg(r.name, ', ' order by r.n)
      from roles r
      join aclexplode(c.relacl) x on x.grantee = r.oid and x.privilege_type = 'SELECT') as readers,
    (select string_agg(format('`%s`', a.attname), ', ' order by k.n)
      from pg_catalog.pg_index i
      cross join unnest(i.indkey::smallint[]) with ordinality as k (attnum, n)
      join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
      where i.indrelid = c.oid and i.indisprimary) as key
  from pg_catalog.pg_class c
  where c.relnamespace = 'credits'::regnamespace and c.relkind in ('r', 'p', 'v') and c.relname not in ('schemaversions', 'applied_objects')
), parts (section, topic, name, detail, line, text) as (
  values
    (0, 0, '', '', 0, E'<!-- Made by `dotnet run --project src/CreditDb.Host -- docs --output docs/sql-api.md` from the comments in db/. Edit those. -->\n'
      '# SQL API\n\n'
      'Everything in the schema `credits` that is not internal, as its comments in the catalog describe it. Outcomes are returned as JSON with `success`, '
      '`code` and `error`; wrong arguments and wrong states raise an error: [Errors and outcomes](errors.md) lists the codes. The roles `app`, `admin`, '
      '`reader` and `user` are those of [For DBAs](dba.md#roles), without their prefix. How it hangs together: [The credit model](credit-model.md).\n')
  union all
  select 1, t.n, '', '', 0, format(E'## %s\n', t.title)
  from topics t
  where exists (select from functions f where f.topic = t.n)
  union all
  select 1, f.topic, f.name, f.identity, 1, concat_ws(E'\n',
    format('### %s', f.name), '', '```sql',
    case
      when f.arguments = '' then format('credits.%s() returns %s', f.name, f.result)
      else format(E'credits.%s(\n  %s\n) returns %s', f.name, regexp_replace(f.arguments, ', (?=p_[a-z0-9_]+ )', E',\n  ', 'g'), f.result)
    end,
    '```', '', f.comment, '',
    case when f.is_trigger then 'Fired by triggers.' else format('Called by: %s.', f.callers) end, '')
  from functions f
  union all
  select 2, r.kind, '', '', 0, case r.kind when 1 then E'## Tables\n' else E'## Views\n' end
  from relations r
  group by r.kind
  union all
  select 2, r.kind, r.name, '', 1, concat_ws(E'\n',
    format('### credits.%s', r.name), '',
    r.comment, '',
    concat(case when r.key is not null then format('Key: %s. ', r.key) end, format('Read by: %s.', coalesce(r.readers, 'the owner only'))), '',
    '| column | type | |', '|---|---|---|',
    (select string_agg(format('| `%s` | %s |%s |', a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod),
        ' ' || regexp_replace(pg_catalog.col_description(r.oid, a.attnum), '([<*|])', '\\\1', 'g')), E'\n' order by a.attnum)
      from pg_catalog.pg_attribute a
      where a.attrelid = r.oid and a.attnum > 0 and not a.attisdropped), '')
  from relations r
)
select string_agg(replace(replace(p.text, 'timestamp with time zone', 'timestamptz'), 'timestamp without time zone', 'timestamp'), E'\n'
  order by p.section, p.topic, p.name collate "C", p.detail collate "C", p.line)
from parts p

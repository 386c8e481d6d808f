create or replace function credits.import_history(
  p_user_id uuid,
  p_entries jsonb
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  c_time constant text := '^(19|20|21)\d\d-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])[T ]([01]\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d{1,9})?)?(Z|[+-](0\d|1[0-4])(:?[0-5]\d)?)$';
  v_wallet credits.wallets;
  v_now timestamptz;
  v_problem record;
  v_last_no bigint;
  v_imported integer;
begin
  perform credits.check_argument(p_user_id is not null, 'p_user_id', 'must not be null');
  perform credits.check_argument(jsonb_typeof(p_entries) = 'array', 'p_entries', 'must be a JSON array');
  perform credits.check_argument(jsonb_array_length(p_entries) <= 10000, 'p_entries', 'must have at most 10000 entries');

  -- In two steps, as the second one casts what the first one found to be well formed. The position is that of p_entries -> position.
  select d.n - 1 as position, c.field, c.problem into v_problem
  from jsonb_array_elements(p_entries) with ordinality as d (value, n)
  cross join lateral (
    values
      (1, '', 'must be a JSON object', jsonb_typeof(d.value) = 'object'),
      (2, 'id', 'must be a text or a number of 1 to 255 characters',
        jsonb_typeof(d.value -> 'id') in ('string', 'number') and length(d.value ->> 'id') between 1 and 255),
      (3, 'action_type', 'must be a text of 1 to 100 characters',
        jsonb_typeof(d.value -> 'action_type') = 'string' and length(d.value ->> 'action_type') between 1 and 100),
      (4, 'amount_used', 'must be a number from 0 to 1000000000 with at most 6 decimals',
        case jsonb_typeof(d.value -> 'amount_used') when 'number' then
          (d.value ->> 'amount_used')::numeric between 0 and 1000000000 and scale(trim_scale((d.value ->> 'amount_used')::numeric)) <= 6 end),
      (5, 'quantity', 'must be a number above 0, at most 1000000000, with at most 6 decimals',
        case coalesce(jsonb_typeof(d.value -> 'quantity'), 'null') when 'null' then true when 'number' then
          (d.value ->> 'quantity')::numeric > 0 and (d.value ->> 'quantity')::numeric <= 1000000000
          and scale(trim_scale((d.value ->> 'quantity')::numeric)) <= 6 end),
      (6, 'call_id', 'must be a UUID',
        case coalesce(jsonb_typeof(d.value -> 'call_id'), 'null') when 'null' then true when 'string' then
          d.value ->> 'call_id' ~* '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$' end),
      (7, 'duration_seconds', 'must be a whole number from 0 to 2147483647',
        case coalesce(jsonb_typeof(d.value -> 'duration_seconds'), 'null') when 'null' then true when 'number' then
          (d.value ->> 'duration_seconds')::numeric between 0 and 2147483647
          and (d.value ->> 'duration_seconds')::numeric = trunc((d.value ->> 'duration_seconds')::numeric) end),
      (8, 'created_at', 'must be a time of ISO 8601 with its offset, such as 2024-02-29T12:00:00Z',
        case jsonb_typeof(d.value -> 'created_at') when 'string' then
          case when d.value ->> 'created_at' ~ c_time then
            substring(d.value ->> 'created_at' from 9 for 2)::integer <= extract(day from
              make_date(left(d.value ->> 'created_at', 4)::integer, substring(d.value ->> 'created_at' from 6 for 2)::integer, 1)
              + interval '1 month' - interval '1 day') end end),
      (9, 'metadata', 'must be a JSON object of at most 16 KB',
        case coalesce(jsonb_typeof(d.value -> 'metadata'), 'null') when 'null' then true when 'object' then
          octet_length((d.value -> 'metadata')::text) <= 16384 end)
  ) c (turn, field, problem, holds)
  where c.holds is not true
  order by d.n, c.turn
  limit 1;
  perform credits.check_argument(not found, concat_ws('.', format('p_entries[%s]', v_problem.position), nullif(v_problem.field, '')), v_problem.problem);
  select t.position, t.field, t.problem into v_problem
  from (
    select d.n - 1 as position, 'id' as field, 'is the id of an earlier entry too' as problem,
      row_number() over (partition by d.value ->> 'id' order by d.n) > 1 as is_wrong
    from jsonb_array_elements(p_entries) with ordinality as d (value, n)
    union all
    select d.n - 1, 'created_at', 'must not be in the future', (d.value ->> 'created_at')::timestamptz > credits.clock_now()
    from jsonb_array_elements(p_entries) with ordinality as d (value, n)
  ) t
  where t.is_wrong
  order by t.position
  limit 1;
  perform credits.check_argument(not found, format('p_entries[%s].%s', v_problem.position, v_problem.field), v_problem.problem);

  v_wallet := credits.lock_wallet(p_user_id, 'credits');
  if v_wallet.user_id is null then
    return credits.outcome('unknown_account', jsonb_build_object('user_id', p_user_id));
  end if;
  v_now := greatest(credits.clock_now(), v_wallet.last_entry_at);
  select coalesce(max(u.import_no), 0) into v_last_no from credits.imported_usage u where u.user_id = p_user_id;
  insert into credits.imported_usage
    (user_id, import_no, legacy_id, action_type, amount_used, quantity, call_id, duration_seconds, metadata, created_at, imported_at)
  select p_user_id, v_last_no + row_number() over (order by e.created_at, e.n), e.id, e.action_type, e.amount_used, e.quantity, e.call_id,
    e.duration_seconds, e.metadata, e.created_at, v_now
  from (
    select d.n, d.value ->> 'id' as id, d.value ->> 'action_type' as action_type, (d.value ->> 'amount_used')::numeric as amount_used,
      (d.value ->> 'quantity')::numeric as quantity, (d.value ->> 'call_id')::uuid as call_id,
      (d.value ->> 'duration_seconds')::numeric::integer as duration_seconds,
      coalesce(nullif(d.value -> 'metadata', 'null'), '{}') as metadata, (d.value ->> 'created_at')::timestamptz as created_at
    from jsonb_array_elements(p_entries) with ordinality as d (value, n)
  ) e
  where not exists (select from credits.imported_usage u where u.user_id = p_user_id and u.legacy_id = e.id);
  get diagnostics v_imported = row_count;

  if v_imported > 0 then
    v_wallet := credits.apply_due(v_wallet, v_now);
    v_wallet.change_no := v_wallet.change_no + 1;
    perform credits.finish_operation(v_wallet, v_now);
  end if;
  return credits.outcome('ok', jsonb_build_object('imported', v_imported, 'known', jsonb_array_length(p_entries) - v_imported));
end
$$;

comment on function credits.import_history(uuid, jsonb) is
  'Lists usage from before the engine in credit_usage_logs, beside the running balance, which it never changes; get_usage_stats and '
  'get_feature_usage do not count it. p_entries: an array of at most 10,000 {id, action_type, amount_used, quantity, call_id, duration_seconds, '
  'created_at, metadata}, of which id, action_type, amount_used (credits, 0 or more) and created_at (ISO 8601 with its offset, not in the future) '
  'must be there; other members are ignored. Safe to repeat: an id that was imported before is passed over, whatever else the entry says. Returns '
  'code ok or unknown_account, imported and known (how many were passed over). Locks the wallet row of credits. Raises UC001 for a malformed entry, '
  'with its position (p_entries[0] is the first) and member, and then nothing is imported.';

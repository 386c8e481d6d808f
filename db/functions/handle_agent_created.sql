create or replace function credits.handle_agent_created()
returns trigger
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_user_ids uuid[];
  v_row_ids text[];
begin
  -- format() prints a value by its type's own output function; a cast could be somebody else's code, run with the engine's rights.
  select array_agg(nullif(format('%s', r.user_id), '')::uuid), array_agg(format('%s', r.id)) into v_user_ids, v_row_ids from new_rows r;
  perform credits.charge_row_set('create_agent', 'public.bots', v_user_ids, v_row_ids,
    array_fill(1::numeric, array[coalesce(cardinality(v_row_ids), 0)]));
  return null;
end
$$;

comment on function credits.handle_agent_created() is
  'Trigger function for inserts into public.bots (statement level, transition table new_rows): charges create_agent for each row. '
  'Locks the wallets of the users in ascending order. Raises UC1xx under the policy reject.';

create or replace function credits.carry_call()
returns trigger
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform credits.check_row_types(tg_relid, 'user_id', 'id');
  perform credits.carry_identity('public.calls', 'agent_call_runtime', old.user_id, old.id::text, new.user_id, new.id::text);
  return null;
end
$$;

comment on function credits.carry_call() is
  'Trigger function for public.calls (row level, when id or user_id changes): a call that was charged stays charged under its new identity. '
  'Locks the wallets of both users in ascending order.';

create or replace function credits.carry_call()
returns trigger
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform credits.carry_identity('public.calls', 'agent_call_runtime', 
    nullif(format('%s', old.user_id), '')::uuid, format('%s', old.id), nullif(format('%s', new.user_id), '')::uuid, format('%s', new.id));
  return null;
end
$$;

comment on function credits.carry_call() is
  'Trigger function for public.calls (row level, when id or user_id changes): a call that was charged stays charged under its new identity. '
  'Locks the wallets of both users in ascending order.';

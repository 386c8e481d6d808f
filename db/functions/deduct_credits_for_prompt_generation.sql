create or replace function credits.deduct_credits_for_prompt_generation(
  p_user_id uuid,
  p_prompt_id uuid default null,
  p_metadata jsonb default '{}',
  p_idempotency_key text default null
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  return credits.deduct_credits_for_action(p_user_id, 'prompt_generation', 1, p_prompt_id, p_metadata, p_idempotency_key);
end
$$;

comment on function credits.deduct_credits_for_prompt_generation(uuid, uuid, jsonb, text) is
  'Charges generating one prompt (prompt_generation); p_prompt_id is the reference. Returns, locks and raises what deduct_credits_for_action does.';

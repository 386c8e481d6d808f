create or replace function credits.add_purchased_credits(
  p_user_id uuid,
  p_amount numeric,
  p_reference text default null,
  p_idempotency_key text default null
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  return credits.grant_credits(p_user_id, p_amount, 'purchased', p_reference => p_reference, p_idempotency_key => p_idempotency_key);
end
$$;

comment on function credits.add_purchased_credits(uuid, numeric, text, text) is
  'Grants purchased credits, which never expire. Returns, locks and raises what grant_credits does. Give the payment''s id as the idempotency key: '
  'the reference alone deduplicates nothing, and is a part of the request (with the amount).';

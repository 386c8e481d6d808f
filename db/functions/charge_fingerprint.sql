create or replace function credits.charge_fingerprint(
  p_action_type text,
  p_quantity numeric,
  p_reference_id uuid
)
returns text
language sql
stable
as $$
  select pg_catalog.jsonb_build_array('deduct_credits_for_action', p_action_type, pg_catalog.trim_scale(p_quantity), p_reference_id)::text
$$;

comment on function credits.charge_fingerprint(text, numeric, uuid) is
  'Internal. What a repeated charge with the same idempotency key must have in common with the first. Stable like what it calls, else '
  'the planner could not put it into the statement.';

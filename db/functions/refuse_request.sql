create or replace function credits.refuse_request(
  p_user_id uuid,
  p_credit_type text,
  p_action_type text,
  p_quantity numeric,
  p_reference_id uuid,
  p_idempotency_key text
)
returns jsonb
language plpgsql
volatile
as $$
declare
  v_key credits.charge_keys;
  v_cost credits.credit_costs;
begin
  if p_idempotency_key is not null then
    v_key := credits.find_key(p_user_id, p_credit_type, 'caller', p_idempotency_key, credits.clock_now());
    if v_key.key is not null then
      -- What it returned then, whatever it would cost now.
      return case when v_key.fingerprint <> credits.charge_fingerprint(p_action_type, p_quantity, p_reference_id)
        then credits.outcome('key_reused', '{"error": "The idempotency key was used for another request."}') end;
    end if;
  end if;

  if p_quantity > 1 then
    v_cost := (credits.plan_terms(p_user_id, credits.cost_of(p_action_type), credits.clock_now())).p_cost;
    if credits.amount_of(v_cost.cost_per_unit, p_quantity) > 1000000000 then
      return credits.outcome('invalid_argument', '{"error": "invalid quantity: costs more than 1000000000 credits", "argument": "quantity", '
        '"problem": "costs more than 1000000000 credits"}');
    end if;
  end if;

  if p_idempotency_key is not null and exists (
    select
    from credits.charge_keys k
    where k.user_id = p_user_id and k.credit_type = p_credit_type and k.source = 'erased' and k.key = credits.erased_key(p_user_id, p_idempotency_key)
      and k.expires_at > credits.clock_now())
  then
    return credits.outcome('key_erased', '{"error": "The idempotency key was used before the user''s data were erased."}');
  end if;
  return null;
end
$$;

comment on function credits.refuse_request(uuid, text, text, numeric, uuid, text) is
  'Internal. The outcome of a request in a batch that would raise an error by itself, or null; key_erased even where it would be declined before that. The caller '
  'holds the wallet''s lock.';

create or replace function credits.deduct_chat_message(
  p_user_id uuid,
  p_idempotency_key text default null
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_result jsonb;
begin
  v_result := credits.deduct_credits_for_action(p_user_id, 'chat_message', p_idempotency_key => p_idempotency_key);
  return v_result || jsonb_build_object('remaining', case
    when v_result @> '{"success": true, "required": 0}' then null
    else trim_scale(coalesce((v_result ->> 'available')::numeric - coalesce((v_result ->> 'credits_deducted')::numeric, 0), 0))
  end);
end
$$;

comment on function credits.deduct_chat_message(uuid, text) is
  'Charges one chat message to the allowance of chat messages. Returns what deduct_credits_for_action returns, with remaining: the messages left '
  'after it (available is before it), or null where the plan does not limit them. With an idempotency key every message is the same request. Locks '
  'the wallet row of chat_messages. Raises what deduct_credits_for_action raises.';

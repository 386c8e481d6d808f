create or replace function credits.charged(
  p_action_type text,
  p_action_name text,
  p_amount numeric,
  p_balance numeric,
  p_debt numeric,
  p_entry_no bigint
)
returns jsonb
language sql
stable
as $$
  select pg_catalog.jsonb_build_object(
    'success', true,
    'code', 'ok',
    'error', null,
    'action_type', p_action_type,
    'action_name', p_action_name,
    'required', p_amount,
    'available', pg_catalog.trim_scale(p_balance + p_debt + p_amount),
    'credits_deducted', p_amount,
    'balance_before', pg_catalog.trim_scale(p_balance + p_amount),
    'balance_after', pg_catalog.trim_scale(p_balance),
    'log_id', p_entry_no,
    'replayed', false)
$$;

comment on function credits.charged(text, text, numeric, numeric, numeric, bigint) is
  'Internal. The outcome of a charge that went through; p_amount without trailing zeros. In SQL, so that the planner puts it into the statement that charges.';

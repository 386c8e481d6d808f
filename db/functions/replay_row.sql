create or replace function credits.replay_row(p_key credits.charge_keys)
returns jsonb
language plpgsql
stable
as $$
declare
  v_fields jsonb;
begin
  select jsonb_build_object(
    'action_type', l.action_type,
    'action_name', coalesce(c.action_name, l.action_type),
    'required', trim_scale(-l.amount),
    'credits_deducted', trim_scale(-l.amount),
    'balance_before', trim_scale(l.balance_after - l.amount),
    'balance_after', trim_scale(l.balance_after))
  into v_fields
  from credits.credit_entries l
  left join credits.credit_costs c on c.action_type = l.action_type
  where l.user_id = p_key.user_id and l.credit_type = p_key.credit_type and l.entry_no = p_key.entry_no;
  return credits.outcome('ok', coalesce(v_fields, '{}') || jsonb_build_object('log_id', p_key.entry_no, 'replayed', true));
end
$$;

comment on function credits.replay_row(credits.charge_keys) is
  'Internal. The outcome of a row that is charged already, read from its ledger entry: a trigger stores no result per row.';

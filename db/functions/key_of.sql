create or replace function credits.key_of(p_entry credits.credit_ledger)
returns credits.charge_keys
language plpgsql
stable
as $$
declare
  v_key credits.charge_keys;
  v_action_name text;
begin
  v_key.key := coalesce(p_entry.row_id, p_entry.idempotency_key);
  if v_key.key is null then
    return null;
  end if;
  select h.action_name into v_action_name
  from credits.credit_cost_changes h
  where h.action_type = p_entry.action_type and h.changed_at <= p_entry.created_at
  order by h.change_no desc
  limit 1;
  if not found then
    select c.action_name into v_action_name from credits.credit_costs c where c.action_type = p_entry.action_type;
  end if;
  v_key.user_id := p_entry.user_id;
  v_key.credit_type := p_entry.credit_type;
  v_key.entry_no := p_entry.entry_no;
  v_key.created_at := p_entry.created_at;
  v_key.result := credits.charged(p_entry.action_type, coalesce(v_action_name, p_entry.action_type), trim_scale(-p_entry.amount),
    p_entry.balance_after, 0, p_entry.entry_no);
  if p_entry.row_id is null then
    v_key.source := 'caller';
    v_key.function_name := 'deduct_credits_for_action';
    v_key.fingerprint := credits.charge_fingerprint(p_entry.action_type, p_entry.quantity, p_entry.reference_id);
    v_key.expires_at := p_entry.created_at + interval '720 hours';
  else
    v_key.source := p_entry.row_source;
    v_key.function_name := 'charge_rows';
    v_key.expires_at := 'infinity';
    -- There may have been debt then.
    v_key.result := v_key.result - 'available';
  end if;
  return v_key;
end
$$;

comment on function credits.key_of(credits.credit_ledger) is
  'Internal. The key that an entry keeps for the row or the caller it was charged for, and what was answered then; null if it has none. A caller''s key is kept '
  'by an entry only if there was no debt, so what could be spent was the balance.';

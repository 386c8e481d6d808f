create or replace function credits.find_key(
  p_user_id uuid,
  p_credit_type text,
  p_source text,
  p_key text,
  p_now timestamptz
)
returns credits.charge_keys
language plpgsql
volatile
as $$
declare
  v_key credits.charge_keys;
  v_entry credits.credit_ledger;
begin
  select k.* into v_key
  from credits.charge_keys k
  where k.user_id = p_user_id and k.credit_type = p_credit_type and k.source = p_source and k.key = p_key and k.expires_at > p_now;
  if v_key.result is not null then
    return v_key;
  elsif v_key.key is not null then
    select e.* into v_entry
    from credits.credit_entries e
    where e.user_id = p_user_id and e.credit_type = p_credit_type and e.entry_no = v_key.entry_no;
  elsif p_source = 'caller' then
    select l.* into v_entry
    from credits.credit_ledger l
    where l.key_hash = credits.key_hash(p_user_id, p_key)
      and (l.user_id = p_user_id and l.credit_type = p_credit_type and l.idempotency_key = p_key) is true
      and l.created_at + interval '720 hours' > p_now;
  else
    select l.* into v_entry
    from credits.credit_ledger l
    where l.key_hash = credits.key_hash(p_user_id, p_key)
      and (l.user_id = p_user_id and l.credit_type = p_credit_type and l.row_source = p_source and l.row_id = p_key) is true;
  end if;
  return coalesce(credits.key_of(v_entry), v_key);
end
$$;

comment on function credits.find_key(uuid, text, text, text, timestamptz) is
  'Internal. What was done with a caller''s idempotency key or for an application''s row, wherever it is kept, with its fingerprint and result; null if nothing was, '
  'or so long ago that the key has expired. The caller holds the wallet''s lock. Raises nothing.';

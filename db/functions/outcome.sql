create or replace function credits.outcome(
  p_code text,
  p_fields jsonb
)
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_what text;
begin
  -- Its fields say what is missing, first of all.
  if p_code = 'not_found' then
    select replace(regexp_replace(k.name, '_id$', ''), '_', ' ') into v_what from jsonb_object_keys(p_fields) as k (name) limit 1;
  end if;
  return jsonb_build_object('success', p_code = 'ok', 'code', p_code, 'error', case p_code
      when 'ok' then null
      when 'insufficient_credits' then 'Not enough credits.'
      when 'limit_reached' then 'The plan''s limit for this action is reached.'
      when 'unknown_account' then 'There is no account for this user.'
      when 'account_suspended' then 'The account is not active.'
      when 'unknown_action' then 'There is no price for this action.'
      when 'inactive_action' then 'This action is switched off.'
      when 'already_settled' then 'This was settled before, or there is not so much left of it.'
      when 'busy' then 'Somebody else is at this account; try again.'
      when 'not_found' then format('There is no such %s.', v_what)
    end) || p_fields;
end
$$;

comment on function credits.outcome(text, jsonb) is
  'Internal. The shape of every outcome: success, code, error (a sentence, null on success), then the fields of the operation.';

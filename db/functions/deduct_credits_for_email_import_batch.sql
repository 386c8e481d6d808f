create or replace function credits.deduct_credits_for_email_import_batch(
  p_user_id uuid,
  p_email_count integer,
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
  p_metadata := coalesce(p_metadata, '{}');
  perform credits.check_texts(p_metadata, p_idempotency_key);
  perform credits.check_argument(p_email_count > 0, 'p_email_count', 'must be greater than zero');
  return credits.deduct_credits_for_action(p_user_id, 'import_emails', ceil(p_email_count / 100.0), null,
    p_metadata || jsonb_build_object('email_count', p_email_count), p_idempotency_key);
end
$$;

comment on function credits.deduct_credits_for_email_import_batch(uuid, integer, jsonb, text) is
  'Charges an import of e-mails (import_emails) by the started hundred; with an idempotency key another count is the same request as long as that is '
  'the same. Returns, locks and raises what deduct_credits_for_action does, and UC001 for a count that is null, zero or negative.';

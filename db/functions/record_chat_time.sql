create or replace function credits.record_chat_time(
  p_user_id uuid,
  p_session_id uuid,
  p_elapsed_seconds integer
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform credits.check_argument(p_user_id is not null, 'p_user_id', 'must not be null');
  perform credits.check_argument(p_session_id is not null, 'p_session_id', 'must not be null');
  perform credits.check_argument(p_elapsed_seconds >= 0, 'p_elapsed_seconds', 'must not be null or below zero');
  return credits.meter_chat_time(p_user_id, p_session_id, p_elapsed_seconds);
end
$$;

comment on function credits.record_chat_time(uuid, uuid, integer) is
  'Reports how long a chat session has run: p_elapsed_seconds is the client''s running total, so a repeated, a smaller or a late report charges '
  'nothing. Whole intervals after the free time are charged as far as the credits reach, in one usage entry (quantity: intervals) whose amount is '
  'added to credits_used; the others are credits_owed, paid as soon as credits come. Whatever keeps them from being charged, the time is recorded '
  'and the user is told. Returns code (ok, insufficient_credits, limit_reached, unknown_account, account_suspended, unknown_action, inactive_action, '
  'not_found), advice (continue; warn: less than a minute left; stop), elapsed_seconds, free_seconds_left, credits_charged (by this report), '
  'credits_used, credits_owed, seconds_left (what free time and credits still cover; null for ever), available (after it), rate, interval_seconds, '
  'balance_after. Locks the wallet row, then the session''s. Raises UC001 for malformed arguments and for a total more than 60 seconds ahead of the '
  'clock.';

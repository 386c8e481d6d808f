create or replace function credits.open_chat_session(
  p_user_id uuid,
  p_session_id uuid default null,
  p_free_seconds integer default null
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_session_id uuid := coalesce(p_session_id, gen_random_uuid());
  v_opened boolean;
  v_session credits.chat_sessions;
  v_wallet credits.wallets;
begin
  perform credits.check_argument(p_user_id is not null, 'p_user_id', 'must not be null');
  perform credits.check_argument(coalesce(p_free_seconds between 0 and 86400, true), 'p_free_seconds', 'must be 0 to 86400');
  v_opened := credits.start_chat_session(p_user_id, v_session_id, p_free_seconds);
  select s.* into v_session from credits.chat_sessions s where s.user_id = p_user_id and s.session_id = v_session_id;
  select w.* into v_wallet
  from credits.wallets w
  where w.user_id = p_user_id and w.credit_type = coalesce(v_session.credit_type, (credits.cost_of(v_session.action_type)).credit_type);
  return credits.chat_outcome(v_wallet, v_session, 0, greatest(credits.clock_now(), v_wallet.last_entry_at))
    || jsonb_build_object('success', true, 'code', 'ok', 'error', null, 'opened', v_opened, 'free_seconds', v_session.free_seconds,
      'started_at', v_session.started_at);
end
$$;

comment on function credits.open_chat_session(uuid, uuid, integer) is
  'Opens a metered chat session (price chat_time), under a new id or the given one; if that is open already, it is left as it is. The first '
  'p_free_seconds cost nothing (default: the plan''s free_chat_seconds; none without an account), then each whole interval costs rate, which is pinned '
  'now, or, if there is no account or no active price yet, by the first report that finds one: until then rate is null. Always code ok, with opened, free_seconds, started_at and what '
  'record_chat_time returns. Locks the wallet row. Raises UC001 for malformed arguments.';

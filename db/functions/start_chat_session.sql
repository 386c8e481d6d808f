create or replace function credits.start_chat_session(
  p_user_id uuid,
  p_session_id uuid,
  p_free_seconds integer default null,
  p_started_at timestamptz default null
)
returns boolean
language plpgsql
volatile
as $$
declare
  c_action_type constant text := 'chat_time';
  v_wallet credits.wallets;
  v_now timestamptz;
  v_session credits.chat_sessions;
begin
  v_wallet := credits.lock_wallet(p_user_id, (credits.cost_of(c_action_type)).credit_type);
  v_now := greatest(credits.clock_now(), v_wallet.last_entry_at);
  if v_wallet.user_id is not null then
    v_wallet := credits.apply_due(v_wallet, v_now);
  end if;
  if exists (select from credits.chat_sessions s where s.user_id = p_user_id and s.session_id = p_session_id) then
    perform credits.finish_unchanged(v_wallet, v_now);
    return false;
  end if;
  v_session.user_id := p_user_id;
  v_session.session_id := p_session_id;
  v_session.action_type := c_action_type;
  v_session := credits.price_chat_session(v_session, v_wallet, v_now);
  v_session.free_seconds := coalesce(p_free_seconds, (
    select p.free_chat_seconds
    from credits.accounts a
    join credits.plans p on p.plan_id = a.plan_id
    where a.user_id = p_user_id
  ), 0);
  insert into credits.chat_sessions
    (user_id, session_id, action_type, credit_type, rate, interval_seconds, free_seconds, started_at, updated_at)
  values
    (p_user_id, p_session_id, c_action_type, v_session.credit_type, v_session.rate, v_session.interval_seconds, v_session.free_seconds,
      least(p_started_at, v_now), v_now)
  on conflict (user_id, session_id) do nothing;
  if not found then
    return false;
  end if;
  if v_wallet.user_id is not null then
    v_wallet.change_no := v_wallet.change_no + 1;
    perform credits.finish_operation(v_wallet, v_now);
  end if;
  return true;
end
$$;

comment on function credits.start_chat_session(uuid, uuid, integer, timestamptz) is
  'Internal. Opens a chat session unless there is one of that id, and says whether it did; what is due in the wallet is applied either way. Locks the wallet row, which pins the price against a '
  'change of plan.';

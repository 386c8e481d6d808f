create or replace function credits.meter_chat_time(
  p_user_id uuid,
  p_session_id uuid,
  p_elapsed_seconds integer,
  p_is_lenient boolean default false,
  p_carried credits.chat_sessions default null
)
returns jsonb
language plpgsql
volatile
as $$
declare
  c_tolerance constant integer := 60;
  v_session credits.chat_sessions;
  v_wallet credits.wallets;
  v_now timestamptz;
  v_allowed numeric;
  v_used numeric;
  v_owed numeric;
  v_uncharged bigint;
  v_terms record;
  v_result jsonb;
begin
  select s.* into v_session
  from credits.chat_sessions s
  where s.user_id = p_user_id and s.session_id = p_session_id;
  if not found then
    return credits.outcome('not_found', jsonb_build_object('session_id', p_session_id));
  end if;
  v_wallet := credits.lock_wallet(p_user_id, coalesce(v_session.credit_type, (credits.cost_of(v_session.action_type)).credit_type));
  v_now := greatest(credits.clock_now(), v_wallet.last_entry_at);
  if v_wallet.user_id is not null then
    v_wallet := credits.apply_due(v_wallet, v_now);
  end if;
  select s.* into v_session
  from credits.chat_sessions s
  where s.user_id = p_user_id and s.session_id = p_session_id
  for update;
  -- The account was opened while this waited for the session. Locking its wallet now would be the wrong order.
  if v_session.credit_type is not null and v_session.credit_type is distinct from v_wallet.credit_type then
    raise exception using errcode = '40001', message = 'the session was priced for a wallet meanwhile';
  end if;

  v_session.started_at := least(v_session.started_at, p_carried.started_at);
  v_allowed := floor(extract(epoch from greatest(v_now, v_session.updated_at) - v_session.started_at)) + c_tolerance;
  if p_is_lenient then
    p_elapsed_seconds := least(p_elapsed_seconds, v_allowed);
  end if;
  perform credits.check_argument(p_elapsed_seconds <= v_allowed, 'p_elapsed_seconds',
    format('must not be more than %s seconds ahead of the clock: the session began %s seconds ago', c_tolerance, v_allowed - c_tolerance));
  if p_elapsed_seconds <= v_session.elapsed_seconds and (p_carried.elapsed_seconds > v_session.elapsed_seconds) is not true then
    v_wallet := credits.finish_unchanged(v_wallet, v_now);
    return credits.chat_outcome(v_wallet, v_session, 0, v_now);
  end if;
  -- What was metered under another identity costs nothing here: the free time moves on with the total, so that what this one charged stays right.
  if p_carried.elapsed_seconds > v_session.elapsed_seconds then
    v_session.free_seconds := greatest(v_session.free_seconds,
      p_carried.elapsed_seconds - greatest(v_session.elapsed_seconds - v_session.free_seconds, 0));
    p_elapsed_seconds := greatest(p_elapsed_seconds, p_carried.elapsed_seconds);
  end if;

  v_used := v_session.credits_used;
  v_session := credits.price_chat_session(v_session, v_wallet, v_now);
  v_uncharged := greatest(p_elapsed_seconds - v_session.free_seconds, 0) / v_session.interval_seconds - v_session.charged_intervals;
  v_owed := coalesce(v_uncharged * v_session.rate, 0);
  update credits.chat_sessions s
  set elapsed_seconds = p_elapsed_seconds,
    free_seconds = v_session.free_seconds,
    started_at = v_session.started_at,
    credit_type = v_session.credit_type,
    rate = v_session.rate,
    interval_seconds = v_session.interval_seconds,
    credits_owed = v_owed,
    updated_at = greatest(s.updated_at, v_now)
  where s.user_id = p_user_id and s.session_id = p_session_id;

  if v_wallet.user_id is not null then
    v_wallet.owed := v_wallet.owed + v_owed - v_session.credits_owed;
    v_wallet.change_no := v_wallet.change_no + 1;
    if v_session.rate = 0 and v_uncharged > 0 then
      -- Nothing is owed for what is free; it is logged.
      v_terms := credits.plan_terms(p_user_id, credits.cost_of(v_session.action_type), v_now);
      v_uncharged := least(v_uncharged, floor(v_terms.limit_quantity - v_terms.used));
      if v_uncharged > 0 and v_wallet.is_active and (v_terms.p_cost).is_active then
        v_wallet := credits.charge_chat_time(v_wallet, p_session_id, v_session.action_type, 0, v_uncharged, v_terms.limit_period,
          v_terms.limit_period_no, v_now);
      end if;
    end if;
    v_wallet := credits.pay_owed(v_wallet, v_now);
  end if;
  select s.* into v_session
  from credits.chat_sessions s
  where s.user_id = p_user_id and s.session_id = p_session_id;
  v_result := credits.chat_outcome(v_wallet, v_session, v_session.credits_used - v_used, v_now);
  if v_result ->> 'code' <> 'ok' then
    perform credits.notify_decline(p_user_id, coalesce(v_wallet.credit_type, (credits.cost_of(v_session.action_type)).credit_type),
      v_session.action_type, v_result ->> 'code', v_session.credits_owed, coalesce(v_wallet.balance + v_wallet.debt, 0), 1, v_now);
  end if;
  if v_wallet.user_id is not null then
    perform credits.finish_operation(v_wallet, v_now);
  end if;
  return v_result;
end
$$;

comment on function credits.meter_chat_time(uuid, uuid, integer, boolean, credits.chat_sessions) is
  'Internal. record_chat_time; p_is_lenient records a total that is ahead of the clock as far as it may be, instead of refusing it; '
  'p_carried is the session under which the row was metered before. Locks the wallet '
  'row, then the session''s; without an account only the session''s. Raises 40001 if the account is opened at the same time.';

create or replace function credits.price_chat_sessions(
  p_wallet credits.wallets,
  p_now timestamptz
)
returns credits.wallets
language plpgsql
volatile
as $$
declare
  v_session credits.chat_sessions;
begin
  for v_session in
    select s.* from credits.chat_sessions s where s.user_id = p_wallet.user_id and s.rate is null order by s.session_id for update
  loop
    v_session := credits.price_chat_session(v_session, p_wallet, p_now);
    continue when v_session.rate is null;
    v_session.credits_owed := greatest(v_session.elapsed_seconds - v_session.free_seconds, 0) / v_session.interval_seconds * v_session.rate;
    update credits.chat_sessions s
    set credit_type = v_session.credit_type,
      rate = v_session.rate,
      interval_seconds = v_session.interval_seconds,
      credits_owed = v_session.credits_owed
    where s.user_id = v_session.user_id and s.session_id = v_session.session_id;
    p_wallet.owed := p_wallet.owed + v_session.credits_owed;
  end loop;
  return p_wallet;
end
$$;

comment on function credits.price_chat_sessions(credits.wallets, timestamptz) is
  'Internal. What was metered before there was an account gets its price when the wallet is opened, and is owed. The caller holds the wallet''s lock '
  'and saves the returned wallet.';

create or replace function credits.owed_payments(
  p_user_id uuid,
  p_credit_type text,
  p_spendable numeric,
  p_at timestamptz,
  p_paid jsonb default '{}'
)
returns table (
  session_id uuid,
  action_type text,
  rate numeric,
  intervals bigint,
  limit_period text,
  limit_period_no integer
)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_session credits.chat_sessions;
  v_cost credits.credit_costs;
  v_terms record;
  v_room numeric;
  v_rest numeric;
begin
  for v_session in
    select s.*
    from credits.chat_sessions s
    where s.user_id = p_user_id and s.credit_type = p_credit_type and s.credits_owed > 0 and s.rate <= p_spendable
    order by s.started_at, s.session_id
  loop
    if v_cost.action_type is distinct from v_session.action_type then
      select c.* into v_cost from credits.credit_costs c where c.action_type = v_session.action_type;
      v_terms := credits.plan_terms(p_user_id, v_cost, p_at);
      v_room := v_terms.limit_quantity - v_terms.used
        - coalesce((p_paid ->> format('%s %s', v_terms.limit_period, v_terms.limit_period_no))::numeric, 0);
    end if;
    -- The time was used at a price that is pinned; but what is switched off charges nobody.
    continue when v_cost.is_active is not true;
    v_rest := least(div(v_session.credits_owed, v_session.rate) - coalesce((p_paid ->> v_session.session_id::text)::numeric, 0),
      div(p_spendable, v_session.rate), floor(v_room));
    while v_rest > 0 loop
      session_id := v_session.session_id;
      action_type := v_session.action_type;
      rate := v_session.rate;
      -- No entry is above 1e9.
      intervals := least(v_rest, div(1000000000, v_session.rate));
      limit_period := v_terms.limit_period;
      limit_period_no := v_terms.limit_period_no;
      return next;
      v_rest := v_rest - intervals;
      p_spendable := p_spendable - intervals * rate;
      v_room := v_room - intervals;
    end loop;
  end loop;
end
$$;

comment on function credits.owed_payments(uuid, text, numeric, timestamptz, jsonb) is
  'Internal. Which owed intervals of chat sessions an amount pays at a moment, an entry each: older sessions first, whole intervals only, within the '
  'plan''s limit. p_paid: what a projection has paid before, per session and per limit period. Writing functions apply this (pay_owed), reading ones '
  'project it. Locks nothing.';

create or replace function credits.project_wallet(
  inout p_wallet credits.wallets,
  p_now timestamptz,
  p_until timestamptz,
  out monthly numeric,
  out purchased numeric,
  out other numeric
)
returns record
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_step record;
  v_part record;
  v_payment record;
  v_numbers bigint[];
  v_sources text[];
  v_priorities integer[];
  v_expiries timestamptz[];
  v_rests numeric[];
  v_paid jsonb := '{}';
  v_amount numeric;
  v_index integer;
  v_pay_at timestamptz;
begin
  -- Usually nothing is due, and the grants are as they are.
  if p_wallet.next_due_at > p_now then
    select
      coalesce(sum(g.remaining) filter (where g.source = 'monthly'), 0),
      coalesce(sum(g.remaining) filter (where g.source = 'purchased'), 0),
      coalesce(sum(g.remaining) filter (where g.source not in ('monthly', 'purchased')), 0)
    into monthly, purchased, other
    from credits.credit_grants g
    where g.user_id = p_wallet.user_id and g.credit_type = p_wallet.credit_type and g.remaining > 0;
    return;
  end if;

  -- In spending order: array_agg keeps it, and a grant that is added finds its place when something is drawn.
  select coalesce(array_agg(g.grant_no), '{}'), array_agg(g.source), array_agg(g.priority), array_agg(g.expires_at), array_agg(g.remaining)
  into v_numbers, v_sources, v_priorities, v_expiries, v_rests
  from credits.credit_grants g
  where g.user_id = p_wallet.user_id and g.credit_type = p_wallet.credit_type
    and (g.remaining > 0 or g.grant_no in (
      select (d.value ->> 'grant')::bigint
      from credits.credit_reservations r
      cross join lateral jsonb_array_elements(r.allocations) d
      where r.user_id = p_wallet.user_id and r.credit_type = p_wallet.credit_type and r.status = 'held' and r.expires_at <= p_now));

  for v_step in
    select s.due_at, s.kind, s.grant_no, s.source, s.amount, s.next_reset_at, s.period_no, s.allocations,
      lead(s.due_at) over () as next_at, false as is_end
    from credits.due_steps(p_wallet.user_id, p_wallet.credit_type, p_now) s
    where p_wallet.next_due_at <= p_now and s.due_at <= p_until
    union all
    -- As apply_due ends.
    select p_now, 'end', null, null, null, null, null, null, null, true
    where p_wallet.next_due_at <= p_now and p_now <= p_until
  loop
    case v_step.kind
      when 'lapse' then
        p_wallet.entry_no := p_wallet.entry_no + 1;
        p_wallet.balance := p_wallet.balance + v_step.amount;
        p_wallet.held := p_wallet.held - v_step.amount;
        for v_part in
          select (d.value ->> 'grant')::bigint as grant_no, d.value ->> 'source' as source, (d.value ->> 'amount')::numeric as amount
          from jsonb_array_elements(v_step.allocations) with ordinality as d (value, n)
          order by d.n
        loop
          v_amount := case v_part.source when 'purchased' then least(v_part.amount, p_wallet.purchase_debt) else 0 end;
          p_wallet.purchase_debt := p_wallet.purchase_debt - v_amount;
          p_wallet.debt := p_wallet.debt - v_amount;
          v_index := array_position(v_numbers, v_part.grant_no);
          v_rests[v_index] := v_rests[v_index] + v_part.amount - v_amount;
        end loop;
      when 'expiry' then
        v_index := array_position(v_numbers, v_step.grant_no);
        if v_rests[v_index] > 0 then
          p_wallet.entry_no := p_wallet.entry_no + 1;
          p_wallet.balance := p_wallet.balance - v_rests[v_index];
          v_rests[v_index] := 0;
        end if;
      when 'reset' then
        if v_step.amount > 0 then
          v_amount := least(p_wallet.debt - p_wallet.purchase_debt, v_step.amount);
          p_wallet.debt := p_wallet.debt - v_amount;
          p_wallet.entry_no := p_wallet.entry_no + 1;
          p_wallet.balance := p_wallet.balance + v_step.amount;
          p_wallet.last_reset_at := v_step.due_at;
          v_numbers := v_numbers || p_wallet.entry_no;
          v_sources := v_sources || v_step.source;
          v_priorities := v_priorities || 10;
          v_expiries := v_expiries || v_step.next_reset_at;
          v_rests := v_rests || (v_step.amount - v_amount);
        end if;
        p_wallet.next_reset_at := v_step.next_reset_at;
      else
        null;
    end case;

    v_pay_at := v_step.due_at;
    if p_wallet.owed > 0 and p_wallet.is_active and p_wallet.balance + p_wallet.debt > 0 and v_pay_at is distinct from v_step.next_at then
      for v_payment in
        select o.* from credits.owed_payments(p_wallet.user_id, p_wallet.credit_type, p_wallet.balance + p_wallet.debt, v_pay_at, v_paid) o
      loop
        v_amount := v_payment.rate * v_payment.intervals;
        select array_agg(t.rest - t.taken order by t.n)
        into v_rests
        from (
          select u.n, u.rest, greatest(least(u.rest, v_amount - sum(u.rest) over by_turn + u.rest), 0) as taken
          from unnest(v_numbers, v_priorities, v_expiries, v_rests) with ordinality as u (grant_no, priority, expires_at, rest, n)
          window by_turn as (order by u.priority, u.expires_at, u.grant_no rows unbounded preceding)
        ) t;
        p_wallet.entry_no := p_wallet.entry_no + 1;
        p_wallet.balance := p_wallet.balance - v_amount;
        p_wallet.owed := p_wallet.owed - v_amount;
        v_paid := v_paid || jsonb_build_object(
          v_payment.session_id, v_payment.intervals + coalesce((v_paid ->> v_payment.session_id::text)::numeric, 0),
          format('%s %s', v_payment.limit_period, v_payment.limit_period_no), v_payment.intervals
            + coalesce((v_paid ->> format('%s %s', v_payment.limit_period, v_payment.limit_period_no))::numeric, 0));
      end loop;
    end if;
  end loop;

  select
    coalesce(sum(g.rest) filter (where g.source = 'monthly'), 0),
    coalesce(sum(g.rest) filter (where g.source = 'purchased'), 0),
    coalesce(sum(g.rest) filter (where g.source not in ('monthly', 'purchased')), 0)
  into monthly, purchased, other
  from unnest(v_sources, v_rests) as g (source, rest);
end
$$;

comment on function credits.project_wallet(credits.wallets, timestamptz, timestamptz) is
  'Internal. A wallet, and what is left of its grants by source, as they will be once what falls due by p_until (at most p_now) has been applied: the '
  'steps of due_steps, and what chat sessions owe paid after each moment, just as apply_due does it. Locks nothing.';

create or replace function credits.set_allowance(
  p_plan_id text,
  p_credit_type text,
  p_amount numeric,
  p_period text default null
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_allowance credits.plan_allowances;
  v_removed boolean := false;
begin
  perform credits.check_argument(p_credit_type ~ '^[a-z][a-z0-9_]{0,62}$', 'p_credit_type', 'must be a lower-case name');
  if p_amount is not null then
    perform credits.check_amount('p_amount', p_amount);
  end if;
  perform credits.check_argument(coalesce(p_period in ('once', 'day', 'month'), true), 'p_period', 'must be once, day or month');
  -- Perhaps the amount was forgotten.
  perform credits.check_argument(p_amount is not null or p_period is null, 'p_amount', 'must not be null with a period; without one, null removes the allowance');
  -- Locked, so that an unknown plan is this error and never that of the foreign key.
  perform from credits.plans p where p.plan_id = p_plan_id for key share;
  perform credits.check_argument(found, 'p_plan_id', 'there is no such plan');

  if p_amount is null then
    delete from credits.plan_allowances a where a.plan_id = p_plan_id and a.credit_type = p_credit_type;
    v_removed := found;
    v_allowance.plan_id := p_plan_id;
    v_allowance.credit_type := p_credit_type;
  elsif p_period is null then
    update credits.plan_allowances a
    set amount = p_amount
    where a.plan_id = p_plan_id and a.credit_type = p_credit_type
    returning a.* into v_allowance;
    perform credits.check_argument(found, 'p_period', 'a new allowance needs a period: once, day or month');
  else
    insert into credits.plan_allowances as a (plan_id, credit_type, amount, period)
    values (p_plan_id, p_credit_type, p_amount, p_period)
    on conflict (plan_id, credit_type) do update set amount = excluded.amount, period = excluded.period
    returning a.* into v_allowance;
  end if;
  return credits.outcome('ok', to_jsonb(v_allowance) || jsonb_build_object('amount', trim_scale(v_allowance.amount), 'removed', v_removed));
end
$$;

comment on function credits.set_allowance(text, text, numeric, text) is
  'What comes with a plan of one credit type: p_amount once when the account opens (p_period once), or anew each day or month of the account. A'
  ' null period stays (a new allowance needs one); a null amount removes the allowance. Holds for accounts that open from the commit on. An '
  'account that is on the plan already gets it at its next reset, and nothing is taken away until then: the period that runs is paid. '
  'change_plan(user, the same plan) brings at once what is above the credits already granted in the running period, and it is the only way for '
  'such an account to get a once-only allowance, or one where nothing was renewed before. From day to month, the first reset finds a month that'
  ' runs already, and pays nothing before the next one; change_plan brings that at once too. Returns the row (amount and period null where '
  'there is none) and removed, whether this call removed one. Locks the allowance''s row, no wallet. Raises UC001 for malformed arguments and '
  'for an unknown plan.';

create or replace function credits.get_credit_balance(
  p_user_id uuid,
  p_credit_type text default 'credits'
)
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_wallet credits.wallets;
  v_monthly numeric := 0;
  v_purchased numeric := 0;
  v_other numeric := 0;
  v_paid numeric;
  v_step record;
  v_part record;
begin
  perform credits.check_argument(p_user_id is not null, 'p_user_id', 'must not be null');
  perform credits.check_argument(p_credit_type is not null, 'p_credit_type', 'must not be null');
  if not exists (select from credits.accounts a where a.user_id = p_user_id) then
    return credits.outcome('unknown_account', jsonb_build_object('user_id', p_user_id));
  end if;
  select w.* into v_wallet from credits.wallets w where w.user_id = p_user_id and w.credit_type = p_credit_type;
  select
    coalesce(sum(g.remaining) filter (where g.source = 'monthly'), 0),
    coalesce(sum(g.remaining) filter (where g.source = 'purchased'), 0),
    coalesce(sum(g.remaining) filter (where g.source not in ('monthly', 'purchased')), 0)
  into v_monthly, v_purchased, v_other
  from credits.credit_grants g
  where g.user_id = p_user_id and g.credit_type = p_credit_type and g.remaining > 0;

  for v_step in
    select s.* from credits.due_steps(p_user_id, p_credit_type, greatest(credits.clock_now(), v_wallet.last_entry_at)) s
  loop
    case v_step.kind
      when 'lapse' then
        v_wallet.entry_no := v_wallet.entry_no + 1;
        v_wallet.held := v_wallet.held - v_step.amount;
        for v_part in
          select d.value ->> 'source' as source, (d.value ->> 'amount')::numeric as amount from jsonb_array_elements(v_step.allocations) d
        loop
          v_paid := case v_part.source when 'purchased' then least(v_part.amount, v_wallet.purchase_debt) else 0 end;
          v_wallet.purchase_debt := v_wallet.purchase_debt - v_paid;
          v_wallet.debt := v_wallet.debt - v_paid;
          case v_part.source
            when 'monthly' then v_monthly := v_monthly + v_part.amount;
            when 'purchased' then v_purchased := v_purchased + v_part.amount - v_paid;
            else v_other := v_other + v_part.amount;
          end case;
        end loop;
      when 'expiry' then
        v_wallet.entry_no := v_wallet.entry_no + 1;
        if v_step.source = 'monthly' then
          v_monthly := v_monthly + v_step.amount;
        else
          v_other := v_other + v_step.amount;
        end if;
      when 'reset' then
        if v_step.amount > 0 then
          v_paid := least(v_wallet.debt - v_wallet.purchase_debt, v_step.amount);
          v_wallet.debt := v_wallet.debt - v_paid;
          v_monthly := v_monthly + v_step.amount - v_paid;
          v_wallet.last_reset_at := v_step.due_at;
          v_wallet.entry_no := v_wallet.entry_no + 1;
        end if;
        v_wallet.next_reset_at := v_step.next_reset_at;
    end case;
  end loop;

  return credits.outcome('ok', jsonb_build_object(
    'user_id', p_user_id,
    'credit_type', p_credit_type,
    'total', trim_scale(v_monthly + v_purchased + v_other),
    'monthly', trim_scale(v_monthly),
    'purchased', trim_scale(v_purchased),
    'other', trim_scale(v_other),
    'held', trim_scale(coalesce(v_wallet.held, 0)),
    'debt', trim_scale(coalesce(v_wallet.debt, 0)),
    'last_monthly_reset', v_wallet.last_reset_at,
    'next_monthly_reset', nullif(v_wallet.next_reset_at, 'infinity'),
    'entry_no', coalesce(v_wallet.entry_no, 0)));
end
$$;

comment on function credits.get_credit_balance(uuid, text) is
  'What a user can spend now: total = monthly + purchased + other; held credits are not in it. Also debt, last_monthly_reset, '
  'next_monthly_reset and entry_no, all as they will be once what is due has been applied. Code ok or unknown_account. Reads only and locks '
  'nothing; sees the rows that its caller may see. Raises UC001 for a null argument.';

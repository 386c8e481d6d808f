create or replace function credits.give_back(
  inout p_wallet credits.wallets,
  p_allocations jsonb,
  out allocations jsonb,
  out rest numeric
)
returns record
language plpgsql
volatile
as $$
declare
  v_part record;
  v_paid numeric;
begin
  allocations := '[]';
  rest := 0;
  for v_part in
    select (d.value ->> 'grant')::bigint as grant_no, d.value ->> 'source' as source, (d.value ->> 'amount')::numeric as amount
    from jsonb_array_elements(p_allocations) with ordinality as d (value, n)
    order by d.n
  loop
    if v_part.grant_no is null then
      -- What was overdrawn then may have been paid since.
      v_paid := least(v_part.amount, p_wallet.debt - p_wallet.purchase_debt);
      p_wallet.debt := p_wallet.debt - v_paid;
      rest := rest + v_part.amount - v_paid;
      if v_paid > 0 then
        allocations := allocations || jsonb_build_object('grant', null, 'source', 'debt', 'amount', trim_scale(v_paid));
      end if;
    else
      -- Credits of a refunded purchase were not there to be held or spent: they pay what the refund left.
      v_paid := case v_part.source when 'purchased' then least(v_part.amount, p_wallet.purchase_debt) else 0 end;
      if v_paid > 0 then
        p_wallet.debt := p_wallet.debt - v_paid;
        p_wallet.purchase_debt := p_wallet.purchase_debt - v_paid;
        allocations := allocations || jsonb_build_object('grant', null, 'source', 'purchase_debt', 'amount', trim_scale(v_paid));
      end if;
      if v_paid < v_part.amount then
        if v_part.grant_no = p_wallet.open_grant_no then
          p_wallet.open_remaining := p_wallet.open_remaining + v_part.amount - v_paid;
        else
          -- The grant may come before the open one in the spending order, so the next charge has to choose again.
          p_wallet := credits.flush_open_grant(p_wallet);
          update credits.stored_grants g
          set remaining = g.remaining + v_part.amount - v_paid
          where g.user_id = p_wallet.user_id and g.credit_type = p_wallet.credit_type and g.grant_no = v_part.grant_no;
        end if;
        allocations := allocations
          || jsonb_build_object('grant', v_part.grant_no, 'source', v_part.source, 'amount', trim_scale(v_part.amount - v_paid));
      end if;
    end if;
  end loop;
end
$$;

comment on function credits.give_back(credits.wallets, jsonb) is
  'Internal. Returns allocations to where they came from: grants, or debt that is still there. Says where they went, and the rest for which there is '
  'no place. The caller holds the lock, books the entry, lets grants expire that had expired (expire_returned) and saves the wallet.';

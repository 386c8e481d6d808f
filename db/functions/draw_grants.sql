create or replace function credits.draw_grants(
  inout p_wallet credits.wallets,
  p_amount numeric,
  out grant_no bigint,
  out allocations jsonb
)
returns record
language plpgsql
volatile
as $$
declare
  v_grant record;
  v_rest numeric := p_amount;
  v_taken numeric;
begin
  if p_amount = 0 then
    -- As the usual charge has it.
    grant_no := case when p_wallet.open_remaining > 0 then p_wallet.open_grant_no end;
    return;
  end if;
  if p_wallet.open_remaining >= p_amount then
    p_wallet.open_remaining := p_wallet.open_remaining - p_amount;
    grant_no := p_wallet.open_grant_no;
    return;
  end if;

  allocations := '[]';
  p_wallet := credits.flush_open_grant(p_wallet);
  for v_grant in
    select g.grant_no, g.source, g.remaining
    from credits.stored_grants g
    where g.user_id = p_wallet.user_id and g.credit_type = p_wallet.credit_type and g.remaining > 0
    order by g.priority, g.expires_at, g.grant_no
  loop
    exit when v_rest = 0;
    v_taken := least(v_rest, v_grant.remaining);
    v_rest := v_rest - v_taken;
    grant_no := v_grant.grant_no;
    allocations := allocations || jsonb_build_object('grant', v_grant.grant_no, 'source', v_grant.source, 'amount', trim_scale(v_taken));
    if v_taken < v_grant.remaining then
      p_wallet.open_grant_no := v_grant.grant_no;
      p_wallet.open_remaining := v_grant.remaining - v_taken;
    end if;
    update credits.stored_grants g
    set remaining = 0
    where g.user_id = p_wallet.user_id and g.credit_type = p_wallet.credit_type and g.grant_no = v_grant.grant_no;
  end loop;
  if v_rest > 0 then
    allocations := allocations || jsonb_build_object('grant', null, 'source', 'debt', 'amount', trim_scale(v_rest));
    p_wallet.debt := p_wallet.debt + v_rest;
  end if;
  if jsonb_array_length(allocations) = 1 and v_rest = 0 then
    allocations := null;
  else
    grant_no := null;
  end if;
end
$$;

comment on function credits.draw_grants(credits.wallets, numeric) is
  'Internal. Takes an amount from the wallet''s grants in spending order and leaves the last one touched open on the wallet; what the grants do not cover '
  'becomes debt, so the caller decides first whether that is allowed. Returns the grant, or the allocations where it took more than one. '
  'The caller holds the lock, and books the entry and saves the wallet.';

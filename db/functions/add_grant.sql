create or replace function credits.add_grant(
  p_wallet credits.wallets,
  p_at timestamptz,
  p_amount numeric,
  p_source text,
  p_priority integer default null,
  p_expires_at timestamptz default null,
  p_period_no integer default null,
  p_reference text default null,
  p_metadata jsonb default '{}',
  p_related_entry_no bigint default null,
  p_kind text default 'grant',
  p_action_type text default null
)
returns credits.wallets
language plpgsql
volatile
as $$
declare
  v_paid numeric := least(p_wallet.debt - p_wallet.purchase_debt, p_amount);
  v_paid_purchase numeric := case p_source when 'purchased' then least(p_wallet.purchase_debt, p_amount - v_paid) else 0 end;
  v_granted numeric := p_amount - v_paid - v_paid_purchase;
  v_allocations jsonb := '[]';
  v_entry credits.credit_ledger;
begin
  -- The new grant may come before the open one in the spending order, so the next charge has to choose again.
  p_wallet := credits.flush_open_grant(p_wallet);
  -- Always as allocations, so that the journal itself says where credits came from.
  if v_paid > 0 then
    p_wallet.debt := p_wallet.debt - v_paid;
    v_allocations := jsonb_build_array(jsonb_build_object('grant', null, 'source', 'debt', 'amount', trim_scale(v_paid)));
  end if;
  if v_paid_purchase > 0 then
    p_wallet.debt := p_wallet.debt - v_paid_purchase;
    p_wallet.purchase_debt := p_wallet.purchase_debt - v_paid_purchase;
    v_allocations := v_allocations || jsonb_build_object('grant', null, 'source', 'purchase_debt', 'amount', trim_scale(v_paid_purchase));
  end if;
  if v_granted > 0 then
    v_allocations := jsonb_build_array(
      jsonb_build_object('grant', p_wallet.entry_no + 1, 'source', p_source, 'amount', trim_scale(v_granted))) || v_allocations;
  end if;
  v_entry.reference := p_reference;
  v_entry.metadata := p_metadata;
  v_entry.related_entry_no := p_related_entry_no;
  v_entry.action_type := p_action_type;
  p_wallet := credits.add_entry(p_wallet, p_at, p_kind, p_amount, null, v_allocations, v_entry);

  insert into credits.stored_grants
    (user_id, credit_type, grant_no, source, amount, remaining, priority, expires_at, period_no, created_at)
  values
    (p_wallet.user_id, p_wallet.credit_type, p_wallet.entry_no, p_source, p_amount, v_granted,
      coalesce(p_priority, case p_source when 'monthly' then 10 when 'trial' then 20 when 'promotional' then 20 else 50 end),
      coalesce(p_expires_at, 'infinity'), p_period_no, p_wallet.last_entry_at);
  p_wallet.next_due_at := credits.next_due_at(p_wallet);
  return p_wallet;
end
$$;

comment on function credits.add_grant(credits.wallets, timestamptz, numeric, text, integer, timestamptz, integer, text, jsonb, bigint, text, text) is
  'Internal. Adds a grant with its ledger entry; what the wallet owes is paid from it first, but what '
  'refunded purchases left only from purchased credits. The caller holds the wallet''s lock and saves '
  'the returned wallet.';

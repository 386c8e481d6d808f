create or replace function credits.rollback_reset(
  p_user_id uuid,
  p_credit_type text,
  p_period_start timestamptz,
  p_reason text
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_wallet credits.wallets;
  v_now timestamptz;
  v_grant record;
  v_expired record;
  v_entry credits.credit_ledger;
  v_revoked numeric := 0;
  v_written_off numeric := 0;
  v_restored numeric := 0;
begin
  perform credits.check_argument(p_user_id is not null, 'p_user_id', 'must not be null');
  perform credits.check_argument(p_credit_type ~ '^[a-z][a-z0-9_]{0,62}$', 'p_credit_type', 'must be a lower-case name');
  perform credits.check_argument(p_period_start is not null, 'p_period_start', 'must not be null');
  perform credits.check_argument(length(p_reason) between 1 and 255, 'p_reason', 'must have 1 to 255 characters');
  v_wallet := credits.lock_wallet(p_user_id, p_credit_type);
  if v_wallet.user_id is null then
    return credits.outcome('unknown_account', jsonb_build_object('user_id', p_user_id));
  end if;
  v_now := greatest(credits.clock_now(), v_wallet.last_entry_at);
  v_wallet := credits.apply_due(v_wallet, v_now);
  if v_wallet.last_reset_at is distinct from p_period_start or v_wallet.reset_grant_no is null then
    perform credits.fail('UC320', 'only the running period''s reset can be rolled back', jsonb_build_object('code', 'not_the_running_period',
      'period_start', p_period_start, 'running_period_start', case when v_wallet.reset_grant_no is not null then v_wallet.last_reset_at end));
  elsif v_wallet.rolled_back_reset_at = v_wallet.last_reset_at then
    perform credits.finish_unchanged(v_wallet, v_now);
    return credits.outcome('already_settled', jsonb_build_object('period_start', p_period_start));
  end if;
  v_wallet := credits.flush_open_grant(v_wallet);
  v_entry.reference := p_reason;

  for v_grant in
    select g.grant_no, g.amount, g.remaining
    from credits.stored_grants g
    -- The reset's own; what a change of plan added later stays.
    where g.user_id = p_user_id and g.credit_type = p_credit_type and g.grant_no = v_wallet.reset_grant_no
  loop
    v_entry.metadata := jsonb_build_object('reset_rolled_back', p_period_start, 'written_off', trim_scale(v_grant.amount - v_grant.remaining));
    v_entry.related_entry_no := v_grant.grant_no;
    v_wallet := credits.add_entry(v_wallet, v_now, 'revocation', -v_grant.remaining, v_grant.grant_no, null, v_entry);
    -- What a hold or a refund still returns to it is gone too.
    update credits.stored_grants g
    set remaining = 0, expires_at = v_now
    where g.user_id = p_user_id and g.credit_type = p_credit_type and g.grant_no = v_grant.grant_no;
    v_revoked := v_revoked + v_grant.remaining;
    v_written_off := v_written_off + v_grant.amount - v_grant.remaining;
  end loop;

  for v_expired in
    select l.entry_no, l.grant_no, -l.amount as amount
    from credits.stored_grants g
    join credits.credit_entries l on l.user_id = g.user_id and l.credit_type = g.credit_type and l.grant_no = g.grant_no and l.kind = 'expiry'
    where g.user_id = p_user_id and g.credit_type = p_credit_type and g.source = 'monthly' and g.expires_at = p_period_start
      and l.created_at >= p_period_start
    order by l.entry_no
  loop
    v_entry.metadata := jsonb_build_object('reset_rolled_back', p_period_start);
    v_entry.related_entry_no := v_expired.entry_no;
    v_wallet := credits.add_entry(v_wallet, v_now, 'adjustment', v_expired.amount, v_expired.grant_no, null, v_entry);
    update credits.stored_grants g
    set remaining = g.remaining + v_expired.amount
    where g.user_id = p_user_id and g.credit_type = p_credit_type and g.grant_no = v_expired.grant_no;
    v_restored := v_restored + v_expired.amount;
  end loop;
  -- Also of those that were used up or held then: what a hold or a refund returns to them may be spent.
  update credits.stored_grants g
  set expires_at = v_wallet.next_reset_at
  where g.user_id = p_user_id and g.credit_type = p_credit_type and g.source = 'monthly' and g.expires_at = p_period_start
    and g.grant_no <> v_wallet.reset_grant_no;

  v_wallet.rolled_back_reset_at := v_wallet.last_reset_at;
  v_wallet.change_no := v_wallet.change_no + 1;
  v_wallet.next_due_at := credits.next_due_at(v_wallet);
  v_wallet := credits.finish_operation(v_wallet, v_now);
  return credits.outcome('ok', jsonb_build_object(
    'period_start', p_period_start,
    'revoked', trim_scale(v_revoked),
    'written_off', trim_scale(v_written_off),
    'restored', trim_scale(v_restored),
    'balance_after', trim_scale(v_wallet.balance)));
end
$$;

comment on function credits.rollback_reset(uuid, text, timestamptz, text) is
  'Takes back the reset that began the running period (p_period_start is last_monthly_reset): revokes what is unspent of its grant, writes off what '
  'was spent, and restores what expired with it until the next reset; all by further entries. What change_plan added in the period stays. The period '
  'counts as granted, so no later operation applies the reset again. Returns code ok, unknown_account or already_settled, revoked, written_off, '
  'restored, balance_after. Locks the wallet row. Raises UC001 for malformed arguments, UC320 for any other period.';

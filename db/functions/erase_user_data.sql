create or replace function credits.erase_user_data(p_user_id uuid)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz;
  v_wallet credits.wallets;
  v_entries integer;
  v_archived integer;
  v_keys integer;
  v_charge_keys integer;
  v_notifications integer;
  v_reservations integer;
  v_imported integer;
  v_own uuid[];
begin
  perform credits.check_argument(p_user_id is not null, 'p_user_id', 'must not be null');
  perform credits.erase_payment_events(p_user_id, false);
  v_now := credits.lock_wallets(p_user_id);
  perform credits.erase_payment_events(p_user_id, true);
  perform from credits.accounts a where a.user_id = p_user_id for no key update;
  if not found then
    return credits.outcome('unknown_account', jsonb_build_object('user_id', p_user_id));
  end if;
  -- Locked again, as one may have been opened while this waited for the account.
  for v_wallet in
    select w.* from credits.wallets w where w.user_id = p_user_id order by w.credit_type for no key update
  loop
    -- As it is by now: a trigger of the application's own may have changed it since it was fetched.
    v_wallet := credits.lock_wallet(v_wallet.user_id, v_wallet.credit_type);
    v_wallet := credits.apply_due(v_wallet, v_now);
    v_wallet.change_no := v_wallet.change_no + 1;
    perform credits.finish_operation(v_wallet, v_now, true);
  end loop;

  -- A key is remembered as a hash alone, so that who sends it again is refused (take_key) instead of charged again.
  with erased as (
    delete from credits.charge_keys k
    where k.user_id = p_user_id and k.source = 'caller'
    returning k.credit_type, k.key, k.function_name, k.created_at, k.expires_at
  )
  insert into credits.charge_keys (user_id, credit_type, source, key, function_name, created_at, expires_at)
  select p_user_id, e.credit_type, 'erased', credits.erased_key(p_user_id, e.key), e.function_name, e.created_at, e.expires_at
  from erased e
  on conflict (user_id, credit_type, source, key) do update set expires_at = greatest(charge_keys.expires_at, excluded.expires_at);
  get diagnostics v_keys = row_count;
  insert into credits.charge_keys (user_id, credit_type, source, key, function_name, created_at, expires_at)
  select p_user_id, l.credit_type, 'erased', credits.erased_key(p_user_id, l.idempotency_key), 'deduct_credits_for_action', l.created_at,
    l.created_at + interval '720 hours'
  from credits.credit_ledger l
  where l.user_id = p_user_id and l.idempotency_key is not null
  on conflict (user_id, credit_type, source, key) do update set expires_at = greatest(charge_keys.expires_at, excluded.expires_at);
  get diagnostics v_charge_keys = row_count;

  -- The only change that the journal ever sees, but for a key used again after 30 days: what a caller wrote into it goes, what was charged stays, and
  -- so do the ids of holds and chat sessions, by which their books are proven.
  v_own := array(
    select r.reservation_id from credits.credit_reservations r where r.user_id = p_user_id
    union all
    select s.session_id from credits.chat_sessions s where s.user_id = p_user_id);
  update credits.credit_ledger l
  set metadata = '{}', cost_breakdown = null, actor = null, idempotency_key = null,
    key_hash = case when l.row_id is not null then l.key_hash end,
    reference = case when l.reference_id = any (v_own) then l.reference end,
    reference_id = case when l.reference_id = any (v_own) then l.reference_id end
  where l.user_id = p_user_id
    and (l.metadata <> '{}' or l.cost_breakdown is not null or l.actor is not null or l.idempotency_key is not null
      or ((l.reference is not null or l.reference_id is not null) and (l.reference_id = any (v_own)) is not true));
  get diagnostics v_entries = row_count;

  update credits.credit_ledger_archive l
  set metadata = '{}', cost_breakdown = null, actor = null, idempotency_key = null,
    key_hash = case when l.row_id is not null then l.key_hash end,
    reference = case when l.reference_id = any (v_own) then l.reference end,
    reference_id = case when l.reference_id = any (v_own) then l.reference_id end
  where l.user_id = p_user_id
    and (l.metadata <> '{}' or l.cost_breakdown is not null or l.actor is not null or l.idempotency_key is not null
      or ((l.reference is not null or l.reference_id is not null) and (l.reference_id = any (v_own)) is not true));
  get diagnostics v_archived = row_count;

  update credits.notifications n
  set title = '', message = '', details = '{}', read_at = coalesce(n.read_at, v_now),
    change_no = coalesce((select w.change_no from credits.wallets w where w.user_id = p_user_id and w.credit_type = n.credit_type), 0)
  where n.user_id = p_user_id and (n.title <> '' or n.message <> '' or n.details <> '{}' or n.read_at is null);
  get diagnostics v_notifications = row_count;

  delete from credits.webhook_deliveries d where d.user_id = p_user_id;

  update credits.credit_reservations r
  set metadata = '{}'
  where r.user_id = p_user_id and r.metadata <> '{}';
  get diagnostics v_reservations = row_count;

  update credits.imported_usage u
  set metadata = '{}', call_id = null
  where u.user_id = p_user_id and (u.metadata <> '{}' or u.call_id is not null);
  get diagnostics v_imported = row_count;

  update credits.usage_attempts t
  set service = null, metadata = '{}'
  where t.user_id = p_user_id and (t.service is not null or t.metadata <> '{}');

  update credits.credit_purchases p
  set metadata = '{}', failure_reason = null, checkout_url = null
  where p.user_id = p_user_id and (p.metadata <> '{}' or p.failure_reason is not null or p.checkout_url is not null);

  -- What can no longer be charged is switched off; what is under way stays known.
  delete from credits.payment_methods m where m.user_id = p_user_id;
  update credits.top_ups t
  set is_on = false, failed_at = null, failure_reason = null
  where t.user_id = p_user_id and (t.is_on or t.failed_at is not null);

  update credits.credit_purchase_refunds r
  set reason = null
  where r.user_id = p_user_id and r.reason is not null;

  update credits.accounts a
  set status_reason = null
  where a.user_id = p_user_id and a.status_reason is not null;

  -- What is still wrong is found again, without what is erased now.
  delete from credits.alerts a where a.user_id = p_user_id;

  return credits.outcome('ok', jsonb_build_object('user_id', p_user_id, 'entries', v_entries + v_archived, 'keys', v_keys + v_charge_keys, 'notifications', v_notifications,
    'reservations', v_reservations, 'imported', v_imported));
end
$$;

comment on function credits.erase_user_data(uuid) is
  'Erases what may be personal in a user''s books: metadata, references, cost breakdowns, actors, stored results, idempotency keys (a hash stays, so that a repeated '
  'request raises UC202 instead of charging again), the texts of notifications, events not yet sent to webhooks or kept since, what was reported of failed attempts, what payment providers reported of the user''s payments, saved payment methods (automatic top-up is switched off), reasons, alerts. Amounts, times, actions, prices and the payment provider''s references stay, and so do user ids and '
  'the ids of charged, listed and imported rows, by which nothing is charged or imported twice; the books still verify. The account stays as open as it was, and what is charged '
  'later is written as usual: close_account() first, or erase again. Repeating it changes nothing. Returns code ok or unknown_account, and how many entries, keys, '
  'notifications, reservations and imported entries were erased. Locks the user''s payments, what was reported of them, all wallets of the user, then the account. Raises UC001 for a null user; 40001 (also where somebody is just at a payment of the user) and 40P01 are to be retried.';

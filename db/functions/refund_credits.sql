create or replace function credits.refund_credits(
  p_user_id uuid,
  p_log_id bigint,
  p_amount numeric default null,
  p_reason text default null,
  p_idempotency_key text default null,
  p_credit_type text default 'credits'
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
  v_key credits.charge_keys;
  v_fingerprint text;
  v_charge credits.credit_ledger;
  v_refunded numeric;
  v_refundable numeric;
  v_amount numeric;
  v_allocations jsonb;
  v_returned record;
  v_entry credits.credit_ledger;
  v_refund_no bigint;
  v_result jsonb;
  v_expired numeric := 0;
begin
  perform credits.check_argument(p_user_id is not null, 'p_user_id', 'must not be null');
  perform credits.check_argument(p_log_id > 0, 'p_log_id', 'must be an entry number');
  perform credits.check_argument(p_credit_type ~ '^[a-z][a-z0-9_]{0,62}$', 'p_credit_type', 'must be a lower-case name');
  if p_amount is not null then
    perform credits.check_amount('p_amount', p_amount);
  end if;
  perform credits.check_argument(coalesce(length(p_reason) between 1 and 255, true), 'p_reason', 'must have 1 to 255 characters');
  perform credits.check_texts('{}', p_idempotency_key);

  v_wallet := credits.lock_wallet(p_user_id, p_credit_type);
  if v_wallet.user_id is null then
    return credits.outcome('unknown_account', jsonb_build_object('user_id', p_user_id));
  end if;
  v_now := greatest(credits.clock_now(), v_wallet.last_entry_at);
  if p_idempotency_key is not null then
    v_fingerprint := jsonb_build_array('refund_credits', p_log_id, trim_scale(p_amount))::text;
    v_key := credits.find_key(p_user_id, p_credit_type, 'caller', p_idempotency_key, v_now);
    if v_key.key is not null then
      return credits.replay_key(v_key, v_fingerprint);
    end if;
  end if;

  select l.* into v_charge
  from credits.credit_entries l
  where l.user_id = p_user_id and l.credit_type = p_credit_type and l.entry_no = p_log_id and l.kind = 'usage';
  if not found then
    return credits.outcome('not_found', jsonb_build_object('log_id', p_log_id));
  end if;
  select coalesce(sum(r.amount), 0) into v_refunded
  from credits.credit_refunds r
  where r.user_id = p_user_id and r.credit_type = p_credit_type and r.log_id = p_log_id;
  v_refundable := -v_charge.amount - v_refunded;
  v_amount := coalesce(p_amount, v_refundable);
  if v_amount = 0 or v_amount > v_refundable then
    return credits.outcome('already_settled', jsonb_build_object('log_id', p_log_id, 'refundable', trim_scale(v_refundable)));
  end if;

  v_wallet := credits.apply_due(v_wallet, v_now);
  -- What was drawn last goes back first, from where the refunds before this one stopped.
  select jsonb_agg(p.whole || jsonb_build_object('amount', trim_scale(least(p.upto, v_refunded + v_amount) - greatest(p.upto - p.amount, v_refunded)))
    order by p.n desc)
  into v_allocations
  from (
    select d.value as whole, (d.value ->> 'amount')::numeric as amount, d.n, sum((d.value ->> 'amount')::numeric) over (order by d.n desc) as upto
    from jsonb_array_elements(credits.allocations_of(v_charge)) with ordinality as d (value, n)
  ) p
  where p.upto > v_refunded and p.upto - p.amount < v_refunded + v_amount;

  v_returned := credits.give_back(v_wallet, v_allocations);
  v_wallet := v_returned.p_wallet;
  v_entry.action_type := v_charge.action_type;
  v_entry.related_entry_no := p_log_id;
  v_entry.reference := p_reason;
  if v_returned.rest < v_amount then
    v_wallet := credits.add_entry(v_wallet, v_now, 'refund', v_amount - v_returned.rest, null, v_returned.allocations, v_entry);
    v_refund_no := v_wallet.entry_no;
    insert into credits.credit_refunds (user_id, credit_type, log_id, refund_no, amount)
    values (p_user_id, p_credit_type, p_log_id, v_refund_no, v_amount - v_returned.rest);
    v_expired := v_wallet.balance;
    v_wallet := credits.expire_returned(v_wallet, v_now, v_returned.allocations);
    v_expired := v_expired - v_wallet.balance;
  end if;
  -- Overdrawn then and paid since: there is no grant to go back to, so it becomes one.
  if v_returned.rest > 0 then
    v_wallet := credits.add_grant(v_wallet, v_now, v_returned.rest, 'refund', p_reference => p_reason, p_related_entry_no => p_log_id,
      p_kind => 'refund', p_action_type => v_charge.action_type);
    v_refund_no := v_wallet.entry_no;
    insert into credits.credit_refunds (user_id, credit_type, log_id, refund_no, amount)
    values (p_user_id, p_credit_type, p_log_id, v_refund_no, v_returned.rest);
  end if;
  v_wallet.next_due_at := least(v_wallet.next_due_at, credits.next_due_at(v_wallet));
  v_wallet := credits.finish_operation(v_wallet, v_now);

  v_result := credits.outcome('ok', jsonb_build_object(
    'log_id', p_log_id,
    'action_type', v_charge.action_type,
    'credits_refunded', trim_scale(v_amount),
    'credits_expired', trim_scale(v_expired),
    'refundable', trim_scale(v_refundable - v_amount),
    'balance_after', trim_scale(v_wallet.balance),
    'refund_log_id', v_refund_no,
    'replayed', false));
  if p_idempotency_key is not null then
    perform credits.remember_key(p_user_id, p_credit_type, p_idempotency_key, 'refund_credits', v_fingerprint, v_refund_no,
      v_result, v_now);
  end if;
  return v_result;
end
$$;

comment on function credits.refund_credits(uuid, bigint, numeric, text, text, text) is
  'Gives back a charge (p_log_id, its entry number) or a part of it, null for all that is left, to the grants it was drawn from: what was drawn last '
  'goes back first; what comes back to a grant that has expired expires. Several refunds of a charge never exceed it: code already_settled, with '
  'refundable, where they would. Returns code ok, unknown_account, not_found or already_settled, credits_refunded, credits_expired (of these), refundable (what is left), '
  'balance_after, refund_log_id, replayed. With an idempotency key the same request (p_log_id, p_amount as given, null being another than the number '
  'it came to; not the reason) refunds once in 30 days and then returns the stored result. Locks the wallet row. Raises UC001 for malformed '
  'arguments, UC201 for a key used for another request.';

create or replace function credits.get_changes(
  p_user_id uuid,
  p_position jsonb default null,
  p_limit integer default 200
)
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  c_latest constant integer := 20;
  c_unread constant integer := 50;
  -- Whoever is further behind reads the history instead.
  c_far constant integer := 10000;
  -- Before any balance is projected: what falls due in between is then due again, not missed.
  v_now timestamptz := credits.clock_now();
  v_wallet record;
  v_seen jsonb;
  v_from bigint;
  v_until bigint;
  v_balance jsonb;
  v_entries jsonb;
  v_notifications jsonb;
  v_due_at timestamptz := 'infinity';
  v_change_no bigint := 0;
  v_wallets jsonb := '[]';
begin
  perform credits.check_argument(p_user_id is not null, 'p_user_id', 'must not be null');
  perform credits.check_argument(p_limit between 1 and 1000, 'p_limit', 'must be 1 to 1000');
  if not exists (select from credits.accounts a where a.user_id = p_user_id) then
    return credits.outcome('unknown_account', jsonb_build_object('user_id', p_user_id));
  end if;
  -- A position that these books were never at, as after a restore, is none.
  if exists (
    select
    from jsonb_each(p_position) s
    left join credits.wallets w on w.user_id = p_user_id and w.credit_type = s.key
    where coalesce(w.entry_no, 0) - (s.value ->> 'entry_no')::bigint not between 0 and c_far
      or coalesce(w.change_no, 0) < greatest((s.value ->> 'change_no')::bigint, (s.value ->> 'told_no')::bigint))
  then
    p_position := null;
  end if;

  for v_wallet in
    select t.credit_type, coalesce(w.entry_no, 0) as entry_no, coalesce(w.change_no, 0) as change_no, w.next_due_at, w.user_id is not null as is_open
    from (
      select 'credits' as credit_type
      union
      select o.credit_type from credits.wallets o where o.user_id = p_user_id
    ) t
    left join credits.wallets w on w.user_id = p_user_id and w.credit_type = t.credit_type
    order by t.credit_type <> 'credits', t.credit_type
  loop
    v_balance := credits.get_credit_balance(p_user_id, v_wallet.credit_type);
    v_seen := p_position -> v_wallet.credit_type;
    v_from := case when p_position is null then greatest(v_wallet.entry_no - c_latest, 0) else coalesce((v_seen ->> 'entry_no')::bigint, 0) end;
    -- Entries are numbered without gaps.
    v_until := least(v_from + p_limit, v_wallet.entry_no);
    select jsonb_agg(jsonb_build_object(
      'credit_type', e.credit_type, 'entry_no', e.entry_no, 'created_at', e.created_at, 'kind', e.kind, 'amount', trim_scale(e.amount),
      'balance_after', trim_scale(e.balance_after), 'action_type', e.action_type, 'unit_price', trim_scale(e.unit_price),
      'quantity', trim_scale(e.quantity), 'duration_seconds', e.duration_seconds, 'row_source', e.row_source, 'row_id', e.row_id,
      'reference_id', e.reference_id, 'reference', e.reference, 'related_entry_no', e.related_entry_no) order by e.entry_no)
    into v_entries
    from credits.credit_entries e
    where e.user_id = p_user_id and e.credit_type = v_wallet.credit_type and e.entry_no > v_from and e.entry_no <= v_until
      and v_until > v_from;

    select jsonb_agg(jsonb_build_object(
      'notification_id', n.notification_id, 'type', n.type, 'severity', n.severity, 'credit_type', n.credit_type, 'action_type', nullif(n.action_type, ''),
      'title', n.title, 'message', n.message, 'details', n.details, 'repeats', n.repeats, 'created_at', n.created_at, 'updated_at', n.updated_at,
      'read_at', n.read_at, 'change_no', n.change_no) order by n.change_no, n.notification_id)
    into v_notifications
    from (
      (
        select o.*
        from credits.notifications o
        where p_position is null and o.user_id = p_user_id and o.credit_type = v_wallet.credit_type and o.read_at is null
        order by o.updated_at desc, o.notification_id
        limit c_unread
      )
      union all
      (
        select o.*
        from credits.notifications o
        where p_position is not null and v_until = v_wallet.entry_no and o.user_id = p_user_id and o.credit_type = v_wallet.credit_type
          and o.change_no >= coalesce((v_seen ->> 'told_no')::bigint, 0)
          and (o.change_no, o.notification_id) > (coalesce((v_seen ->> 'told_no')::bigint, 0),
            coalesce((v_seen ->> 'told_id')::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff'))
        order by o.change_no, o.notification_id
        limit p_limit
      )
    ) n;

    v_wallets := v_wallets || jsonb_build_object(
      'credit_type', v_wallet.credit_type,
      'change_no', v_wallet.change_no,
      -- If not, what is missing comes next, and the balance after it.
      'is_complete', v_until = v_wallet.entry_no and (p_position is null or coalesce(jsonb_array_length(v_notifications), 0) < p_limit),
      'balance', v_balance,
      'entries', coalesce(v_entries, '[]'),
      'notifications', coalesce(v_notifications, '[]'));
    if v_wallet.is_open then
      v_change_no := v_change_no + v_wallet.change_no + 1;
    end if;
    if v_wallet.next_due_at > v_now then
      v_due_at := least(v_due_at, v_wallet.next_due_at);
    elsif v_wallet.is_open then
      -- What is due is in the balance already, as nobody has applied it yet: the moment after it.
      v_due_at := least(v_due_at, (v_balance ->> 'next_monthly_reset')::timestamptz, (
        select min(g.expires_at)
        from credits.stored_grants g
        where g.user_id = p_user_id and g.credit_type = v_wallet.credit_type and g.expires_at > v_now
      ), (
        select min(r.expires_at)
        from credits.credit_reservations r
        where r.user_id = p_user_id and r.credit_type = v_wallet.credit_type and r.status = 'held' and r.expires_at > v_now
      ));
    end if;
  end loop;

  return credits.outcome('ok', jsonb_build_object(
    'user_id', p_user_id,
    'is_snapshot', p_position is null,
    'now', v_now,
    'change_no', v_change_no,
    'due_at', nullif(v_due_at, 'infinity'),
    'wallets', v_wallets));
end
$$;

comment on function credits.get_changes(uuid, jsonb, integer) is
  'What a user who watches has to be shown. p_position says what was shown, {credit_type: {entry_no, change_no, told_no, told_id}}: the entries and notifications since then, in order, up to '
  'p_limit of each and wallet; null, or a position that the books were never at or have left far behind: a snapshot with the latest entries and what is unread. Per wallet its '
  'balance as of now, change_no, and is_complete if nothing more is to come; the user''s change_no as get_changed_users() counts it, and due_at, when a balance changes by time alone. '
  'Code ok or unknown_account. One snapshot of the database; reads only and locks nothing. Raises UC001 for malformed arguments.';

create or replace function credits.deduct_credits_batch(
  p_requests jsonb,
  p_wait boolean default true
)
returns table (
  request_no integer,
  success boolean,
  code text,
  error text,
  action_type text,
  action_name text,
  required numeric,
  available numeric,
  credits_deducted numeric,
  balance_before numeric,
  balance_after numeric,
  log_id bigint,
  replayed boolean,
  details jsonb
)
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_hashjoin = off
set enable_mergejoin = off
set enable_seqscan = off
-- Planning takes longer than a small batch, and there is but one good plan.
set plan_cache_mode = force_generic_plan
set jit = off
as $$
declare
  c_fields constant text[] := '{user_id,action_type,quantity,reference_id,metadata,idempotency_key,actor}';
  c_columns constant text[] := '{success,code,error,action_type,action_name,required,available,credits_deducted,balance_before,balance_after,log_id,replayed}';
  -- As the type reads it.
  c_uuid constant text := '^(([0-9a-fA-F]{4}-?){7}[0-9a-fA-F]{4}|\{([0-9a-fA-F]{4}-?){7}[0-9a-fA-F]{4}\})$';
  v_now timestamptz;
  v_actor text := credits.actor();
  -- By request, where it is not among the usual: its outcome.
  v_results jsonb[];
  v_row record;
  v_is_busy boolean;
  v_is_well_formed boolean;
  -- The well-formed requests, wallet by wallet, those of each in their order.
  v_requests credits.charge_request[];
  v_request credits.charge_request;
  v_result jsonb;
  v_wallet_no integer;
  -- The wallets, in the same order: where their requests begin, whether each is locked and, where all of its requests are usual, what they begin from.
  v_firsts integer[];
  v_is_locked boolean[];
  v_entry_nos bigint[];
  v_places tid[];
  v_balances numeric[];
  v_remaining numeric[];
  v_grant_nos bigint[];
  v_times timestamptz[];
begin
  perform credits.check_argument(jsonb_typeof(p_requests) = 'array', 'p_requests', 'must be a JSON array');
  perform credits.check_argument(jsonb_array_length(p_requests) between 1 and 10000, 'p_requests', 'must have 1 to 10000 elements');
  perform credits.check_argument(p_wait is not null, 'p_wait', 'must not be null');
  v_results := array_fill(null::jsonb, array[jsonb_array_length(p_requests)]);

  -- Usually all requests are well-formed, which costs little to see. If one is not, each is looked at, and the others are read again.
  loop
    begin
      select array_agg(row(s.n, s.user_id, s.credit_type, s.action_type, s.quantity, s.reference_id, s.metadata, s.key, s.actor, s.action_name,
          s.usual_price, s.amount, s.position, s.running, s.is_last)::credits.charge_request),
        coalesce(bool_and(s.is_well_formed), true)
      into v_requests, v_is_well_formed
      from (
        select q.*,
          row_number() over so_far as position,
          sum(q.amount) over so_far as running,
          lead(q.n) over so_far is null as is_last
        from (
          select r.*, coalesce(c.credit_type, (credits.cost_of(r.action_type)).credit_type) as credit_type, c.action_name, c.usual_price,
            -- Where there is no usual one, more than any wallet has.
            case when c.usual_price * r.quantity <= 1000000000 then trim_scale(credits.amount_of(c.usual_price, r.quantity)) else 'infinity' end as amount,
            (r.user_id is not null and r.user_id_is = 'string' and r.action_type_is = 'string' and length(r.action_type) between 1 and 100
              and coalesce(r.quantity_is in ('number', 'null'), true)
              and (r.quantity = 1 or r.quantity > 0 and r.quantity <= 1000000000 and scale(trim_scale(r.quantity)) <= 6)
              and (r.others = '{}'
                or r.others - c_fields = '{}'
                  and coalesce(jsonb_typeof(r.others -> 'reference_id') in ('string', 'null'), true)
                  and coalesce(jsonb_typeof(r.others -> 'metadata') in ('object', 'null') and octet_length(r.metadata::text) <= 16384, true)
                  and coalesce(jsonb_typeof(r.others -> 'idempotency_key') in ('string', 'null') and coalesce(length(r.key) between 1 and 255, true), true)
                  and coalesce(jsonb_typeof(r.others -> 'actor') in ('string', 'null'), true))) is true as is_well_formed
          from (
            select i.n, i.others, (i.value ->> 'user_id')::uuid as user_id, jsonb_typeof(i.value -> 'user_id') as user_id_is,
              i.value ->> 'action_type' as action_type,
              jsonb_typeof(i.value -> 'action_type') as action_type_is, coalesce((i.value ->> 'quantity')::numeric, 1) as quantity,
              jsonb_typeof(i.value -> 'quantity') as quantity_is, (i.others ->> 'reference_id')::uuid as reference_id,
              coalesce(nullif(i.others -> 'metadata', 'null'), '{}') as metadata, i.others ->> 'idempotency_key' as key,
              coalesce(nullif(left(i.others ->> 'actor', 255), ''), v_actor) as actor
            from (
              select e.n::integer as n, e.value, e.value - '{user_id,action_type,quantity}'::text[] as others
              from jsonb_array_elements(p_requests) with ordinality as e (value, n)
              where v_results[e.n::integer] is null
              offset 0
            ) i
            offset 0
          ) r
          left join credits.credit_costs c on c.action_type = r.action_type
        ) q
        window so_far as (partition by q.user_id, q.credit_type order by q.n rows unbounded preceding)
        order by q.user_id, q.credit_type, q.n
      ) s;
      exit when v_is_well_formed;
    exception when data_exception then
      -- What is malformed is found out below.
    end;

    for v_row in
      select p.n, split_part(p.problem, ': ', 1) as argument, substr(p.problem, strpos(p.problem, ': ') + 2) as problem
      from (
        select e.n::integer as n,
          case
            when jsonb_typeof(r.item) <> 'object' then 'request: must be a JSON object'
            when r.item - c_fields <> '{}' then 'request: must have no fields but ' || array_to_string(c_fields, ', ')
            when (jsonb_typeof(r.item -> 'user_id') = 'string' and r.item ->> 'user_id' ~ c_uuid) is not true then 'user_id: must be a UUID'
            when (jsonb_typeof(r.item -> 'action_type') = 'string' and length(r.item ->> 'action_type') between 1 and 100) is not true
              then 'action_type: must have 1 to 100 characters'
            when jsonb_typeof(r.item -> 'quantity') not in ('number', 'null') then 'quantity: must be a number'
            when (r.item ->> 'quantity')::numeric <= 0 then 'quantity: must be greater than zero'
            when (r.item ->> 'quantity')::numeric > 1000000000 then 'quantity: must be at most 1000000000'
            when scale(trim_scale((r.item ->> 'quantity')::numeric)) > 6 then 'quantity: must have at most 6 decimals'
            when jsonb_typeof(r.item -> 'reference_id') not in ('string', 'null') or r.item ->> 'reference_id' !~ c_uuid then 'reference_id: must be a UUID'
            when jsonb_typeof(r.item -> 'metadata') not in ('object', 'null') then 'metadata: must be a JSON object'
            when octet_length(r.item ->> 'metadata') > 16384 then 'metadata: must be at most 16 KB'
            when jsonb_typeof(r.item -> 'idempotency_key') not in ('string', 'null')
              or length(r.item ->> 'idempotency_key') not between 1 and 255 then 'idempotency_key: must have 1 to 255 characters'
            when jsonb_typeof(r.item -> 'actor') not in ('string', 'null') then 'actor: must be a text'
          end as problem
        from jsonb_array_elements(p_requests) with ordinality as e (value, n)
        cross join lateral (select e.value as item) r
      ) p
      where p.problem is not null
    loop
      v_results[v_row.n] := credits.outcome('invalid_argument', jsonb_build_object('error', format('invalid %s: %s', v_row.argument, v_row.problem),
        'argument', v_row.argument, 'problem', v_row.problem));
    end loop;
    perform credits.check_argument(found, 'p_requests', 'has a request that cannot be read');
  end loop;

  -- All wallets first, in order: the arrays are in it, and are read as they are. One that is opened after this was not locked by it, and is left to
  -- those that are charged one by one. The time was read before this may have waited, so a wallet is usual only if nothing is due soon.
  v_now := credits.clock_now();
  if p_wait then
    select array_agg(l.first_i), array_agg(l.entry_no is not null), array_agg(case when l.is_usual then l.entry_no end), array_agg(l.place),
      array_agg(l.balance), array_agg(l.open_remaining), array_agg(l.open_grant_no), array_agg(greatest(v_now, l.last_entry_at))
    into v_firsts, v_is_locked, v_entry_nos, v_places, v_balances, v_remaining, v_grant_nos, v_times
    from (
      select w.*, r.ordinality::integer - r.position + 1 as first_i,
        w.is_active and w.debt = 0 and w.open_remaining > r.running and w.next_due_at > v_now + interval '1 hour' as is_usual
      from unnest(v_requests) with ordinality as r
      left join lateral (
        select w.ctid as place, w.* from credits.wallets w where w.user_id = r.user_id and w.credit_type = r.credit_type for no key update of w
      ) w on true
      where r.is_last
      order by r.ordinality
    ) l;
  else
    select array_agg(l.first_i), array_agg(l.entry_no is not null), array_agg(case when l.is_usual then l.entry_no end), array_agg(l.place),
      array_agg(l.balance), array_agg(l.open_remaining), array_agg(l.open_grant_no), array_agg(greatest(v_now, l.last_entry_at))
    into v_firsts, v_is_locked, v_entry_nos, v_places, v_balances, v_remaining, v_grant_nos, v_times
    from (
      select w.*, r.ordinality::integer - r.position + 1 as first_i,
        w.is_active and w.debt = 0 and w.open_remaining > r.running and w.next_due_at > v_now + interval '1 hour' as is_usual
      from unnest(v_requests) with ordinality as r
      left join lateral (
        select w.ctid as place, w.* from credits.wallets w where w.user_id = r.user_id and w.credit_type = r.credit_type for no key update of w skip locked
      ) w on true
      where r.is_last
      order by r.ordinality
    ) l;
  end if;

  -- Keys are read under the locks.
  if exists (select from unnest(v_requests) r where r.key is not null) then
    for v_row in
      select distinct r.wallet_no
      from (
        select r.*, width_bucket(r.ordinality::integer, v_firsts) as wallet_no,
          row_number() over (partition by r.user_id, r.credit_type, r.key) as use_of_key
        from unnest(v_requests) with ordinality as r
        where r.key is not null
      ) r
      where r.use_of_key > 1
        or exists (
          select
          from credits.credit_ledger l
          where l.key_hash = credits.key_hash(r.user_id, r.key)
            and (l.user_id = r.user_id and l.credit_type = r.credit_type and l.idempotency_key = r.key) is true)
        or exists (
          select
          from credits.charge_keys k
          where k.user_id = r.user_id and k.credit_type = r.credit_type and k.source = 'caller' and k.key = r.key)
        or exists (
          select
          from credits.charge_keys k
          where k.user_id = r.user_id and k.credit_type = r.credit_type and k.source = 'erased')
    loop
      v_entry_nos[v_row.wallet_no] := null;
    end loop;
  end if;

  -- The usual wallets at once: nothing is due, the open slice of a grant covers all their requests, no key was used before.
  with q as materialized (
    select r.*, v_entry_nos[r.wallet_no] + r.position as entry_no, v_balances[r.wallet_no] - r.running as balance, v_times[r.wallet_no] as at
    from (
      select r.*, width_bucket(r.ordinality::integer, v_firsts) as wallet_no
      from unnest(v_requests) with ordinality as r
      offset 0
    ) r
    where v_entry_nos[r.wallet_no] is not null
  ), u as (
    update credits.wallets w
    set balance = q.balance,
      entry_no = q.entry_no,
      change_no = w.change_no + q.position,
      last_entry_at = q.at,
      open_remaining = v_remaining[q.wallet_no] - q.running
    from q
    -- Locked, it is where it was found.
    where q.is_last and w.ctid = v_places[q.wallet_no] and w.user_id = q.user_id and w.credit_type = q.credit_type
  )
  insert into credits.credit_ledger
    (user_id, credit_type, entry_no, created_at, kind, amount, balance_after, action_type, unit_price, quantity, grant_no, idempotency_key,
      key_hash, reference_id, actor, session_role, metadata)
  select q.user_id, q.credit_type, q.entry_no, q.at, 'usage', -q.amount, q.balance, q.action_type, q.price, q.quantity,
    v_grant_nos[q.wallet_no], q.key, credits.key_hash(q.user_id, q.key), q.reference_id, q.actor, session_user, q.metadata
  from q;

  -- What is not usual one after the other, as if called so; what would raise an error there is an outcome here.
  if array_position(v_entry_nos, null) is not null then
    for i in 1 .. cardinality(v_requests) loop
      v_wallet_no := width_bucket(i, v_firsts);
      continue when v_entry_nos[v_wallet_no] is not null;
      v_request := v_requests[i];
      -- Without a lock it is somebody else's, unless there is no wallet yet: the charge opens it, and has it locked from there on.
      if v_request.position = 1 then
        v_is_busy := not p_wait and not v_is_locked[v_wallet_no]
          and exists (select from credits.wallets w where w.user_id = v_request.user_id and w.credit_type = v_request.credit_type);
        if not v_is_locked[v_wallet_no] and not v_is_busy then
          -- Opening it would wait for whoever has locked the account.
          if not p_wait then
            perform from credits.accounts a where a.user_id = v_request.user_id for no key update skip locked;
            v_is_busy := not found and exists (select from credits.accounts a where a.user_id = v_request.user_id);
          end if;
          -- Its keys are read under its lock, too.
          if not v_is_busy then
            perform credits.lock_wallet(v_request.user_id, v_request.credit_type);
          end if;
        end if;
      end if;
      if v_is_busy then
        v_results[v_request.n] := credits.outcome('busy', '{}');
        continue;
      end if;
      perform set_config('credits.actor', coalesce(v_request.actor, ''), true);
      v_result := credits.refuse_request(v_request.user_id, v_request.credit_type, v_request.action_type, v_request.quantity, v_request.reference_id,
        v_request.key);
      if v_result is null then
        v_result := credits.charge(v_request.user_id, v_request.action_type, v_request.quantity, v_request.reference_id, v_request.metadata, 'caller',
          v_request.key);
      elsif v_result ->> 'code' = 'key_erased' then
        -- A decline comes before it.
        begin
          v_result := credits.charge(v_request.user_id, v_request.action_type, v_request.quantity, v_request.reference_id, v_request.metadata, 'caller',
            v_request.key);
        exception when sqlstate 'UC202' then
        end;
      end if;
      v_results[v_request.n] := v_result;
    end loop;
    perform set_config('credits.actor', coalesce(v_actor, ''), true);
  end if;

  -- The outcomes of the usual are worked out again from the arrays that their entries were: to carry them costs more.
  return query
    select *
    from (
      select r.n, true, 'ok', null::text, r.action_type, r.action_name, r.amount, trim_scale(r.balance + r.amount), r.amount,
        trim_scale(r.balance + r.amount), trim_scale(r.balance), v_entry_nos[r.wallet_no] + r.position, false, null::jsonb
      from (
        select r.*, v_balances[r.wallet_no] - r.running as balance
        from (
          select r.*, width_bucket(r.ordinality::integer, v_firsts) as wallet_no
          from unnest(v_requests) with ordinality as r
          offset 0
        ) r
        where v_entry_nos[r.wallet_no] is not null
      ) r
      union all
      select o.n::integer, r.success, r.code, r.error, r.action_type, r.action_name, r.required, r.available, r.credits_deducted,
        r.balance_before, r.balance_after, r.log_id, r.replayed, nullif(o.result - c_columns, '{}')
      from unnest(v_results) with ordinality as o (result, n)
      cross join lateral jsonb_to_record(o.result) as r (success boolean, code text, error text, action_type text, action_name text, required numeric,
        available numeric, credits_deducted numeric, balance_before numeric, balance_after numeric, log_id bigint, replayed boolean)
      where o.result is not null
    ) r
    order by r.n;
end
$$;

comment on function credits.deduct_credits_batch(jsonb, boolean) is
  'Charges up to 10,000 requests, each accepted or declined exactly as if deduct_credits_for_action were called for one after the other: an array of '
  '{user_id, action_type, quantity (1), reference_id, metadata, idempotency_key, actor (the setting credits.actor)}. Returns one row per request, in order: '
  'request_no (from 1), the fields of the outcome (null for what it lacks), and as details the fields that few outcomes have (limit, used, limit_period, '
  'argument, problem). What that function would raise for one request is its outcome here, and its neighbours are not touched: code invalid_argument, '
  'key_reused or key_erased. Without p_wait, requests for a wallet that somebody else has locked have code busy. Locks the wallets of all requests first, '
  'by user and credit type in ascending order. Raises UC001 for what is no array of 1 to 10,000 elements and for p_wait null; 40001 (at REPEATABLE READ and above) and 40P01 '
  'are to be retried, as a whole.';

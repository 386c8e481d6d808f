-- Who may do what. Roles belong to the whole cluster and this runs again and again, so it reads the catalog and changes only what differs.
do $$
declare
  c_owner constant text := '$role_prefix$_owner';
  c_app constant text := '$role_prefix$_app';
  c_admin constant text := '$role_prefix$_admin';
  c_reader constant text := '$role_prefix$_reader';
  c_user constant text := '$role_prefix$_user';
  -- What the reading functions, which run with their caller's rights, are made of.
  c_reading constant text[] := array['actor', 'clock_now', 'fail', 'check_argument', 'check_amount', 'outcome', 'amount_of', 'price_of', 'due_steps',
    'period_start', 'period_number', 'plan_terms', 'allocations', 'get_credit_balance', 'get_balance_at', 'can_perform_action',
    'get_usage_stats', 'get_feature_usage', 'usage_tail',
    'list_purchases', 'get_top_up', 'top_up_spent',
    'project_wallet', 'owed_payments'];
  c_verifying constant text[] := array['verify_ledger', 'verify_slice', 'id_before', 'key_hash', 'known_rows', 'verify_attachments', 'trigger_signature'];
  c_charging constant text[] := array['user_id_for', 'uuid_v5', 'sha1', 'open_account', 'deduct_credits_for_action', 'deduct_call_credits',
    'deduct_credits_for_email_send', 'deduct_credits_for_prompt_formatting', 'deduct_credits_for_prompt_generation',
    'deduct_credits_for_email_import_batch', 'charge_uncharged',
    'deduct_credits_batch', 'deduct_chat_message', 'reserve_credits', 'extend_reservation', 'commit_reservation', 'release_reservation', 'refund_credits',
    'settle_due_wallets',
    'track_usage_and_deduct_credits', 'roll_up_usage',
    'open_chat_session', 'record_chat_time',
    'create_purchase',
    'set_top_up',
    'set_threshold', 'notify_expiring', 'read_notifications'];
  c_administering constant text[] := array['grant_credits', 'add_purchased_credits', 'adjust_credits', 'change_plan', 'rollback_reset', 'set_cost', 'attach_charge', 'detach_charge',
    'carry_row', 'check_column', 'ensure_trigger', 'register_attachment', 'register_trigger', 'unregister_attachment', 'drop_charge_triggers',
    'attach_chat', 'meter_rows', 'check_attachable',
    'set_package', 'complete_purchase', 'fail_purchase', 'refund_purchase', 'reinstate_purchase',
    'suspend_account', 'reactivate_account', 'close_account', 'erase_user_data', 'import_balance', 'import_history', 'archive_ledger',
    'set_plan', 'set_allowance', 'set_feature',
    'attach_accounts', 'detach_accounts', 'open_accounts'];
  c_working constant text[] := array['expire_purchases', 'roll_up_next', 'verify_next', 'find_anomalies', 'forget_keys',
    'get_worker_state', 'list_alerts', 'acknowledge_alert'];
  -- What the host is made of.
  c_hosting constant text[] := array[
    'apply_payment_event', 'retry_payment_event', 'dismiss_payment_event', 'list_payment_events', 'keep_checkout', 'begin_top_ups',
    'create_api_key', 'find_api_key', 'note_api_key_use', 'revoke_api_key', 'list_api_keys',
    'get_changes', 'get_changed_users',
    'get_data_protection_keys', 'store_data_protection_key',
    'set_webhook_endpoint', 'rotate_webhook_secret', 'delete_webhook_endpoint', 'get_webhook_endpoints', 'get_webhook_target', 'claim_webhook_deliveries',
    'finish_webhook_delivery', 'get_dead_webhooks', 'retry_dead_webhooks', 'purge_webhook_deliveries'];
  -- Read through functions only: secrets, what they are checked by, and what providers tell about people of all accounts.
  c_sealed constant text[] := array['schemaversions', 'applied_objects',
    'payment_events',
    'api_keys', 'data_protection_keys',
    'webhook_endpoints'];
  -- By these an operator's program, which need not own anything, knows whether the database is current.
  c_journal constant text[] := array['schemaversions', 'applied_objects'];
  v_role text;
  v_item record;
begin
  foreach v_role in array array[c_owner, c_app, c_admin, c_reader, c_user] loop
    if not exists (select from pg_catalog.pg_roles r where r.rolname = v_role) then
      execute format('create role %I nologin', v_role);
    end if;
  end loop;

  if not exists (select from pg_catalog.pg_namespace n where n.nspname = 'credits' and n.nspowner = c_owner::regrole) then
    raise exception using errcode = 'UC401', message = 'the schema credits was migrated with another role prefix',
      detail = json_build_object('owner', (select n.nspowner::regrole from pg_catalog.pg_namespace n where n.nspname = 'credits'))::text;
  end if;

  -- Scripts run as the migrating user; what they made belongs to the owner role.
  for v_item in
    select format('alter %s %s owner to %I', case c.relkind when 'v' then 'view' when 'c' then 'type' else 'table' end, c.oid::regclass, c_owner) as command
    from pg_catalog.pg_class c
    where c.relnamespace = 'credits'::regnamespace and c.relkind in ('r', 'v', 'p', 'c') and c.relowner <> c_owner::regrole
    union all
    select format('alter function %s owner to %I', p.oid::regprocedure, c_owner)
    from pg_catalog.pg_proc p
    where p.pronamespace = 'credits'::regnamespace and p.proowner <> c_owner::regrole
  loop
    execute v_item.command;
  end loop;

  -- Privileges: what is there is compared with what should be.
  for v_item in
    with wanted as (
      select 'schema credits' as object, 'usage' as privilege, r.role
      from unnest(array[c_app, c_admin, c_reader, c_user]) r (role)
      union
      select 'function ' || p.oid::regprocedure, 'execute', r.role
      from pg_catalog.pg_proc p
      cross join unnest(array[c_app, c_admin, c_reader, c_user]) r (role)
      where p.pronamespace = 'credits'::regnamespace
        and p.proname = any (c_reading
          || case when r.role in (c_app, c_admin, c_reader) then c_verifying end
          || case when r.role in (c_app, c_admin) then c_charging end
          || case when r.role = c_admin then c_administering || c_hosting end
          || case when r.role = c_admin then c_working end)
      union
      -- Those that attach_charge() wrote, one for each source.
      select 'function ' || p.oid::regprocedure, 'execute', c_admin
      from pg_catalog.pg_proc p
      where p.pronamespace = 'credits'::regnamespace and p.proname ~ '^charge_rows_[0-9a-f]{16}$'
      union
      -- Views run with their reader's rights, so that row security holds for them; nobody but the engine's functions writes.
      select 'table ' || c.oid::regclass, 'select', r.role
      from pg_catalog.pg_class c
      cross join unnest(array[c_app, c_admin, c_reader, c_user]) r (role)
      where c.relnamespace = 'credits'::regnamespace and c.relkind in ('r', 'v', 'p')
        and (c.relname <> all (c_sealed) or r.role = c_admin and c.relname = any (c_journal))
        and (r.role <> c_user or c.relname not in ('charge_attachments', 'credit_cost_changes'))
        and (r.role <> c_user or c.relname not in ('payments', 'alerts', 'worker_sweeps'))
    ), granted as (
      select 'schema credits' as object, lower(x.privilege_type) as privilege, coalesce(g.rolname, 'public') as role
      from pg_catalog.pg_namespace n
      cross join aclexplode(n.nspacl) x
      left join pg_catalog.pg_roles g on g.oid = x.grantee
      where n.nspname = 'credits' and x.grantee <> n.nspowner
      union
      select 'function ' || p.oid::regprocedure, lower(x.privilege_type), coalesce(g.rolname, 'public')
      from pg_catalog.pg_proc p
      cross join aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) x
      left join pg_catalog.pg_roles g on g.oid = x.grantee
      where p.pronamespace = 'credits'::regnamespace and x.grantee <> p.proowner
      union
      select 'table ' || c.oid::regclass, lower(x.privilege_type), coalesce(g.rolname, 'public')
      from pg_catalog.pg_class c
      cross join aclexplode(c.relacl) x
      left join pg_catalog.pg_roles g on g.oid = x.grantee
      where c.relnamespace = 'credits'::regnamespace and c.relkind in ('r', 'v', 'p') and x.grantee <> c.relowner
    )
    select format('grant %s on %s to %I', w.privilege, w.object, w.role) as command
    from wanted w
    where not exists (select from granted g where (g.object, g.privilege, g.role) = (w.object, w.privilege, w.role))
    union all
    -- Only PUBLIC and our own roles are put right; what a DBA granted to somebody else is the DBA's.
    select format('revoke %s on %s from %s', g.privilege, g.object, case g.role when 'public' then 'public' else quote_ident(g.role) end)
    from granted g
    where g.role in ('public', c_app, c_admin, c_reader, c_user)
      and not exists (select from wanted w where (w.object, w.privilege, w.role) = (g.object, g.privilege, g.role))
  loop
    execute v_item.command;
  end loop;

  for v_item in
    select c.oid::regclass as relation, c.relrowsecurity as is_secured
    from pg_catalog.pg_class c
    join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attname = 'user_id'
    where c.relnamespace = 'credits'::regnamespace and c.relkind in ('r', 'p')
  loop
    if not v_item.is_secured then
      execute format('alter table %s enable row level security', v_item.relation);
    end if;
    if not exists (select from pg_catalog.pg_policy p where p.polrelid = v_item.relation and p.polname = 'everything') then
      execute format('create policy everything on %s for select to %I, %I, %I using (true)', v_item.relation, c_app, c_admin, c_reader);
    end if;
    if not exists (select from pg_catalog.pg_policy p where p.polrelid = v_item.relation and p.polname = 'own_rows') then
      execute format('create policy own_rows on %s for select to %I using (user_id = (select nullif(current_setting(''credits.user_id'', true), '''')::uuid))',
        v_item.relation, c_user);
    end if;
  end loop;
end
$$;

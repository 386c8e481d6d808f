create or replace function credits.open_accounts()
returns trigger
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_attachment credits.charge_attachments := credits.attachment_of(tg_argv[0], tg_relid, tg_name);
  v_settings jsonb := v_attachment.settings;
  v_user text;
  v_zone text := 'null::text';
  v_user_ids uuid[];
  v_zones text[];
  v_account record;
begin
  if v_settings ? 'opens_accounts' is not true then
    return null;
  end if;
  -- As in write_charge_function: a value is printed by its type's own output function, as a cast could be somebody else's code.
  v_user := format('nullif(format(''%%s'', r.%I), '''')', v_settings ->> 'id_column');
  if v_settings ? 'user_issuer' then
    v_user := format('credits.user_id_for(%L, %s)', v_settings ->> 'user_issuer', v_user);
  end if;
  if v_settings ? 'time_zone_column' then
    v_zone := format('format(''%%s'', r.%I)', v_settings ->> 'time_zone_column');
  end if;
  execute format('select array_agg(%s::uuid), array_agg(%s) from new_rows r', v_user, v_zone)
  into v_user_ids, v_zones;

  -- Sorted by user, so that two statements over the same users take them in the same order.
  for v_account in
    select u.user_id, u.zone
    from unnest(v_user_ids, v_zones) with ordinality as u (user_id, zone, n)
    order by u.user_id, u.n
  loop
    -- A setting of the user's that names no place must not keep them from signing up.
    if (credits.open_account(v_account.user_id, v_settings ->> 'plan_id',
        case when credits.is_time_zone(v_account.zone) then v_account.zone else 'UTC' end) ->> 'opened')::boolean
      and v_settings ? 'trial_credits'
    then
      perform credits.grant_credits(v_account.user_id, (v_settings ->> 'trial_credits')::numeric, 'trial',
        credits.clock_now() + (v_settings ->> 'trial_days')::integer * interval '1 day', p_reference => 'sign-up');
    end if;
  end loop;
  return null;
end
$$;

comment on function credits.open_accounts() is
  'Trigger function that attach_accounts() puts on a table; its argument is the source, its settings are in charge_attachments. Opens the accounts of '
  'the inserted users, in ascending order, and grants their trial credits. Raises UC001 for a row without an id, or if the plan is gone.';

create or replace function credits.attach_accounts(
  p_table regclass,
  p_id_column name default 'id',
  p_plan_id text default 'free',
  p_user_issuer text default null,
  p_trial_credits numeric default null,
  p_trial_days integer default null,
  p_time_zone_column name default null
)
returns jsonb
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_class pg_class;
  v_source text;
  v_name text;
  v_member regclass;
begin
  perform credits.check_attachable(p_table);
  perform credits.check_argument(p_id_column is not null, 'p_id_column', 'must not be null');
  perform credits.check_column(p_table, p_id_column, 'p_id_column',
    case when p_user_issuer is null then array['uuid'] else array['uuid', 'text', 'varchar', 'int2', 'int4', 'int8'] end);
  perform credits.check_argument(coalesce(length(p_user_issuer) between 1 and 255, true), 'p_user_issuer', 'must have 1 to 255 characters');
  perform credits.check_argument(exists (select from credits.plans p where p.plan_id = p_plan_id), 'p_plan_id', 'there is no such plan');
  if p_trial_credits is not null then
    perform credits.check_amount('p_trial_credits', p_trial_credits);
  end if;
  perform credits.check_argument(p_trial_days is null or p_trial_credits is not null, 'p_trial_days', 'needs trial credits');
  perform credits.check_argument(coalesce(p_trial_days between 1 and 3650, true), 'p_trial_days', 'must be 1 to 3650');
  if p_time_zone_column is not null then
    perform credits.check_column(p_table, p_time_zone_column, 'p_time_zone_column', array['text', 'varchar'], p_must_be_set => false);
  end if;

  -- Under the name that it was attached by first, whatever the table is called now.
  select a.source into v_source from credits.charge_attachments a where a.relation = p_table and a.settings ? 'opens_accounts';
  select c.* into v_class from pg_class c where c.oid = p_table;
  v_source := coalesce(v_source, format('accounts of %s.%s', v_class.relnamespace::regnamespace, v_class.relname));
  perform credits.register_attachment(v_source, p_table, 'open_account', jsonb_strip_nulls(jsonb_build_object(
    'opens_accounts', true, 'id_column', p_id_column, 'user_issuer', p_user_issuer, 'plan_id', p_plan_id,
    'trial_credits', p_trial_credits, 'trial_days', p_trial_days, 'time_zone_column', p_time_zone_column)));
  v_name := 'credits_open_accounts_' || left(encode(sha256(convert_to(v_source, 'UTF8')), 'hex'), 8);
  -- An insert that names a partition fires the statement triggers of that partition only.
  for v_member in select t.relid from pg_partition_tree(p_table) t union select p_table order by 1 loop
    perform credits.ensure_trigger(v_source, v_member, v_name, 'after insert',
      format('referencing new table as new_rows for each statement execute function credits.open_accounts(%L)', v_source));
  end loop;
  return credits.outcome('ok', jsonb_build_object('source', v_source, 'table', p_table::text, 'plan_id', p_plan_id, 'triggers', jsonb_build_array(v_name)));
end
$$;

comment on function credits.attach_accounts(regclass, name, text, text, numeric, integer, name) is
  'From now on, a row inserted into an application''s table of users opens its account, in the same transaction: on p_plan_id, with a grant of trial credits where '
  'they are given (expiring after p_trial_days; null for never), and in the time zone that p_time_zone_column holds, or UTC where that is not one. The id is the '
  'user''s, or with p_user_issuer user_id_for(issuer, id) is. A user who has an account gets nothing, so a row that is deleted and inserted again brings no second trial. '
  'Rows that are there already get their account by open_account(). Call it again to change the settings, for accounts to come, or to cover new partitions '
  '(verify_attachments() names them). Runs with the rights of its caller, who must own the table. Locks the table while triggers change. Returns source, table, plan_id, triggers. '
  'Raises UC001 for what cannot be attached and why, UC402 for somebody else''s table.';

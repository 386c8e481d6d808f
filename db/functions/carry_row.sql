create or replace function credits.carry_row()
returns trigger
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_settings jsonb := tg_argv[0];
  v_user text := format('%%1$s.%I', v_settings ->> 'user_column');
  v_id text := format('%%1$s.%I::text', v_settings ->> 'id_column');
  v_row record;
begin
  perform credits.check_row_types(tg_relid, v_settings ->> 'user_column', v_settings ->> 'id_column');
  if v_settings ? 'user_issuer' then
    v_user := format('credits.user_id_for(%L, %s::text)', v_settings ->> 'user_issuer', v_user);
  end if;
  execute format('select %s as old_user, %s as old_id, %s as new_user, %s as new_id',
    format(v_user, '($1)'), format(v_id, '($1)'), format(v_user, '($2)'), format(v_id, '($2)'))
  into v_row
  using old, new;
  perform credits.carry_row_identity(v_settings ->> 'source', v_settings ->> 'action_type',
    v_row.old_user, v_row.old_id, v_row.new_user, v_row.new_id);
  return null;
end
$$;

comment on function credits.carry_row() is
  'Trigger function that attach_charge() puts on a table charged by status (row level, when id or user changes): a row that was charged stays '
  'charged under its new identity. Locks the wallets of both users in ascending order. Raises UC303 for a column of a foreign type.';

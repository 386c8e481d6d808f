create or replace function credits.carry_row()
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
  v_query text;
  v_old record;
  v_new record;
begin
  if v_attachment.source is null then
    return null;
  end if;
  v_user := format('nullif(format(''%%s'', ($1).%I), '''')', v_settings ->> 'user_column');
  if v_settings ? 'user_issuer' then
    v_user := format('credits.user_id_for(%L, %s)', v_settings ->> 'user_issuer', v_user);
  end if;
  v_query := format('select %s::uuid as user_id, format(''%%s'', ($1).%I) as row_id', v_user, v_settings ->> 'id_column');
  execute v_query into v_old using old;
  execute v_query into v_new using new;
  perform credits.carry_identity(v_attachment.source, v_attachment.action_type, v_old.user_id, v_old.row_id, v_new.user_id, v_new.row_id);
  return null;
end
$$;

comment on function credits.carry_row() is
  'Trigger function that attach_charge() puts on a table charged by status (row level, when id or user changes): a row that was charged stays '
  'charged under its new identity. Locks the wallets of both users in ascending order.';

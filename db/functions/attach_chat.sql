create or replace function credits.attach_chat(
  p_table regclass,
  p_user_column name default 'user_id',
  p_session_column name default 'id',
  p_elapsed_column name default 'elapsed_seconds',
  p_source text default null,
  p_free_seconds integer default null,
  p_started_column name default null,
  p_user_issuer text default null
)
returns jsonb
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  c_ids constant text[] := array['uuid', 'text', 'varchar', 'int2', 'int4', 'int8'];
  v_class pg_class;
  v_source text;
  v_hash text;
  v_meter text;
begin
  perform credits.check_attachable(p_table);
  select c.* into v_class from pg_class c where c.oid = p_table;
  perform credits.check_column(p_table, p_user_column, 'p_user_column', case when p_user_issuer is null then array['uuid'] else c_ids end);
  perform credits.check_argument(coalesce(length(p_user_issuer) between 1 and 255, true), 'p_user_issuer', 'must have 1 to 255 characters');
  perform credits.check_column(p_table, p_session_column, 'p_session_column', c_ids);
  perform credits.check_column(p_table, p_elapsed_column, 'p_elapsed_column', array['int2', 'int4', 'int8', 'numeric'], p_must_be_set => false);
  perform credits.check_argument(coalesce(p_free_seconds between 0 and 86400, true), 'p_free_seconds', 'must be 0 to 86400');
  if p_started_column is not null then
    perform credits.check_column(p_table, p_started_column, 'p_started_column', array['timestamptz'], p_must_be_set => false);
  end if;
  v_source := coalesce(p_source, format('%s.%s', v_class.relnamespace::regnamespace, v_class.relname));
  perform credits.check_argument(length(v_source) between 1 and 255 and v_source not in ('caller', 'import', 'erased'), 'p_source', 'must have 1 to 255 characters, and not be caller, import or erased');

  perform credits.register_attachment(v_source, p_table, 'chat_time', jsonb_strip_nulls(jsonb_build_object(
    'user_column', p_user_column, 'user_issuer', p_user_issuer, 'session_column', p_session_column, 'elapsed_column', p_elapsed_column,
    'started_column', p_started_column, 'free_seconds', p_free_seconds)));
  v_hash := left(encode(sha256(convert_to(v_source, 'UTF8')), 'hex'), 8);
  v_meter := format('execute function credits.meter_rows(%L)', v_source);
  perform credits.ensure_trigger(v_source, p_table, 'credits_meter_update_' || v_hash, 'after update', format(
    'for each row when (old.%1$I is distinct from new.%1$I or old.%2$I is distinct from new.%2$I or old.%3$I is distinct from new.%3$I) %4$s',
    p_elapsed_column, p_session_column, p_user_column, v_meter));
  -- A partitioned table's row triggers hold for all its partitions, and for a row that an update moves to another one.
  perform credits.ensure_trigger(v_source, p_table, 'credits_meter_insert_' || v_hash, 'after insert',
    case v_class.relkind when 'p' then 'for each row ' else 'referencing new table as new_rows for each statement ' end || v_meter);

  return credits.outcome('ok', jsonb_build_object('source', v_source, 'table', p_table::text, 'action_type', 'chat_time',
    'settings', (select a.settings from credits.charge_attachments a where a.source = v_source),
    'triggers', (select array(select jsonb_object_keys(a.triggers) order by 1) from credits.charge_attachments a where a.source = v_source)));
end
$$;

comment on function credits.attach_chat(regclass, name, name, name, text, integer, name, text) is
  'Charges the chat sessions of an application''s own table from now on, as record_chat_time does, whenever a row is inserted or its elapsed seconds '
  '(the running total) change. A session is opened by its first row; a session id that is no UUID stands for user_id_for(source, id). '
  'p_free_seconds: instead of the plan''s. p_started_column: when a session began, where its row comes later. A total that is ahead of the clock '
  'counts as far as it may be, and nothing but malformed values (UC001), 40001 and 40P01 makes the application''s statement fail: what cannot be '
  'charged is owed, whatever the price''s on_insufficient. A row that gets another user or id is not charged again for the time before. Call it '
  'again to change the settings, all of which it sets anew; detach_charge() detaches, and verify_attachments() tells whether the triggers are in '
  'place. Runs with the rights of its caller, who must own the table. Locks the table while triggers change. Returns code ok, source, table, '
  'action_type (chat_time), settings (as they hold now) and triggers (their names). Raises UC001 for what cannot be attached and why, UC302 for a '
  'source that stands for something else, UC402 for somebody else''s table.';

create or replace function credits.record_cost_change()
returns trigger
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_row credits.credit_costs := case when tg_op = 'DELETE' then old else new end;
  v_last credits.credit_cost_changes;
begin
  if tg_op = 'UPDATE' and new.action_type <> old.action_type then
    perform credits.fail('UC301', 'an action keeps its name for life; make a new action',
      jsonb_build_object('code', 'action_renamed', 'action_type', old.action_type));
  end if;
  select h.* into v_last
  from credits.credit_cost_changes h
  where h.action_type = v_row.action_type
  order by h.change_no desc
  limit 1;
  -- The keys of charged rows are kept per credit type: with another one, a row could be charged again.
  if v_last.credit_type <> v_row.credit_type then
    perform credits.fail('UC301', 'an action keeps its credit type for life; make a new action',
      jsonb_build_object('code', 'credit_type_changed', 'action_type', v_row.action_type, 'credit_type', v_last.credit_type));
  end if;
  -- A data-only restore brings the recorded changes and then the prices; what is recorded already is not recorded again.
  if (v_last.is_deleted, v_last.action_name, v_last.cost_per_unit, v_last.unit_description, v_last.on_insufficient, v_last.is_active)
    is not distinct from
    (tg_op = 'DELETE', v_row.action_name, v_row.cost_per_unit, v_row.unit_description, v_row.on_insufficient, v_row.is_active)
  then
    return null;
  end if;
  insert into credits.credit_cost_changes
    (action_type, change_no, changed_at, changed_by, actor, is_deleted, action_name, cost_per_unit, unit_description, credit_type,
      on_insufficient, is_active)
  values
    (v_row.action_type, coalesce(v_last.change_no, 0) + 1, credits.clock_now(), session_user, credits.actor(), tg_op = 'DELETE',
      v_row.action_name, v_row.cost_per_unit, v_row.unit_description, v_row.credit_type, v_row.on_insufficient, v_row.is_active);
  return null;
end
$$;

comment on function credits.record_cost_change() is
  'Trigger function of credit_costs: keeps every state of every price, whoever changes it and how. Raises UC301 for a change of an action''s '
  'name or credit type.';

create table credits.credit_costs (
  action_type text not null,
  action_name text not null,
  -- Plain numeric, so that a price finer than six decimals is refused instead of rounded, perhaps to nothing.
  cost_per_unit numeric not null,
  unit_description text not null,
  credit_type text not null default 'credits',
  on_insufficient text not null default 'notify',
  is_active boolean not null default true,
  unit_seconds integer,
  has_plan_terms boolean not null default false,
  usual_price numeric(20,6),
  usual_outcome jsonb,
  constraint credit_costs_pkey primary key (action_type),
  constraint credit_costs_action_type_is_a_name check (action_type ~ '^[a-z][a-z0-9_.-]{0,99}$'),
  constraint credit_costs_action_name_not_empty check (length(action_name) between 1 and 200),
  constraint credit_costs_cost_in_range check (cost_per_unit >= 0 and cost_per_unit <= 1000000000),
  constraint credit_costs_cost_has_six_decimals check (scale(trim_scale(cost_per_unit)) <= 6),
  constraint credit_costs_unit_not_empty check (length(unit_description) between 1 and 200),
  constraint credit_costs_credit_type_is_a_name check (credit_type ~ '^[a-z][a-z0-9_]{0,62}$'),
  constraint credit_costs_on_insufficient_known check (on_insufficient in ('notify', 'reject', 'debt')),
  constraint credit_costs_unit_seconds_positive check (unit_seconds > 0)
);

comment on table credits.credit_costs is
  'The price list, and the only source of prices. on_insufficient says what a trigger does with a row that cannot be paid: '
  'notify (the row stays and is listed), reject (the statement fails), debt (charged up to the plan''s debt limit).';
comment on column credits.credit_costs.unit_seconds is 'For what is metered by time: how long one unit is.';
comment on column credits.credit_costs.has_plan_terms is
  'Whether plan_features says something about this action; kept by a trigger there. The usual charge, of an action without, need not look.';
comment on column credits.credit_costs.usual_price is
  'cost_per_unit as the usual charge takes it; null while the action is switched off or has plan terms, so that only the general path charges it. Kept by a trigger.';
comment on column credits.credit_costs.usual_outcome is
  'The part of a usual charge''s outcome that is the same every time, made once here instead of by every charge. Kept by a trigger.';

create table credits.credit_cost_changes (
  action_type text not null,
  change_no integer not null,
  changed_at timestamptz not null,
  changed_by text not null,
  actor text,
  is_deleted boolean not null,
  action_name text not null,
  cost_per_unit numeric not null,
  unit_description text not null,
  credit_type text not null,
  on_insufficient text not null,
  is_active boolean not null,
  constraint credit_cost_changes_pkey primary key (action_type, change_no)
);

comment on table credits.credit_cost_changes is
  'Every state that a price has had, numbered per action, with who set it. Written by a trigger on credit_costs.';

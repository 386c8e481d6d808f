create table credits.plans (
  plan_id text not null,
  plan_name text not null,
  debt_limit numeric(20,6) not null default 0,
  free_chat_seconds integer not null default 0,
  constraint plans_pkey primary key (plan_id),
  constraint plans_plan_id_is_a_name check (plan_id ~ '^[a-z][a-z0-9_-]{0,62}$'),
  constraint plans_plan_name_not_empty check (length(plan_name) between 1 and 200),
  constraint plans_debt_limit_in_range check (debt_limit >= 0 and debt_limit <= 1000000000),
  constraint plans_free_chat_seconds_in_range check (free_chat_seconds between 0 and 86400)
);

comment on table credits.plans is
  'What an account can be on. debt_limit is how far actions with the policy debt may overdraw each wallet of the account; '
  'free_chat_seconds how much of a chat session costs nothing.';

create table credits.plan_allowances (
  plan_id text not null,
  credit_type text not null,
  amount numeric(20,6) not null,
  period text not null,
  constraint plan_allowances_pkey primary key (plan_id, credit_type),
  constraint plan_allowances_plan_fkey foreign key (plan_id) references credits.plans (plan_id),
  constraint plan_allowances_credit_type_is_a_name check (credit_type ~ '^[a-z][a-z0-9_]{0,62}$'),
  constraint plan_allowances_amount_in_range check (amount > 0 and amount <= 1000000000),
  constraint plan_allowances_period_known check (period in ('once', 'day', 'month'))
);

comment on table credits.plan_allowances is
  'Credits that come with a plan: once when the account opens, or anew each day or month, when what is left of the last period expires.';
comment on column credits.plan_allowances.period is
  'once (when the account opens), day or month (each day or month of the account, counted from its anchor in its time zone).';

create table credits.plan_features (
  plan_id text not null,
  action_type text not null,
  is_unlimited boolean not null default false,
  cost_per_unit numeric,
  limit_quantity numeric(20,6),
  limit_period text,
  constraint plan_features_pkey primary key (plan_id, action_type),
  constraint plan_features_plan_fkey foreign key (plan_id) references credits.plans (plan_id),
  constraint plan_features_cost_in_range check (cost_per_unit >= 0 and cost_per_unit <= 1000000000 and scale(trim_scale(cost_per_unit)) <= 6),
  constraint plan_features_limit_in_range check (limit_quantity >= 0 and limit_quantity <= 1000000000),
  constraint plan_features_limit_has_a_period check ((limit_quantity is null) = (limit_period is null) and limit_period in ('day', 'month')),
  constraint plan_features_unlimited_is_free check (not is_unlimited or cost_per_unit is null)
);

comment on table credits.plan_features is
  'What a plan says about an action: unlimited (logged at cost 0), a price of its own, a limit of priced units per period of the account.';
comment on column credits.plan_features.cost_per_unit is 'The plan''s own price; null where that of the price list holds.';
comment on column credits.plan_features.limit_quantity is 'How many priced units may be used in a period; 0 forbids the action, null limits nothing.';
comment on column credits.plan_features.limit_period is 'day or month: those of the account, counted from its anchor in its time zone. Null without a limit.';

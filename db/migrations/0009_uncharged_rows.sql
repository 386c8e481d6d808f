create table credits.uncharged_rows (
  user_id uuid not null,
  source text not null,
  row_id text not null,
  action_type text not null,
  credit_type text not null,
  quantity numeric(20,6) not null,
  unit_price numeric(20,6),
  duration_seconds integer,
  code text not null,
  required numeric(20,6),
  available numeric(20,6) not null,
  created_at timestamptz not null,
  ordinal integer not null,
  constraint uncharged_rows_pkey primary key (user_id, source, row_id)
);

comment on table credits.uncharged_rows is
  'Application rows that stand without their charge, with the price they had when they were written. charge_uncharged(user) settles them.';
comment on column credits.uncharged_rows.code is
  'Why it was not charged when it was written: insufficient_credits, limit_reached, unknown_account, account_suspended, unknown_action or inactive_action.';

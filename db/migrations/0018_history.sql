create table credits.imported_usage (
  user_id uuid not null,
  import_no bigint not null,
  legacy_id text not null,
  action_type text not null,
  amount_used numeric(20,6) not null,
  quantity numeric(20,6),
  call_id uuid,
  duration_seconds integer,
  metadata jsonb not null,
  created_at timestamptz not null,
  imported_at timestamptz not null,
  constraint imported_usage_pkey primary key (user_id, import_no),
  constraint imported_usage_legacy_id_key unique (user_id, legacy_id),
  constraint imported_usage_amount_not_negative check (amount_used >= 0)
);

comment on table credits.imported_usage is
  'Usage from before the engine, kept beside the books: it is listed in credit_usage_logs and is part of no balance. Written by import_history(), under the '
  'lock of the user''s wallet of credits.';
comment on column credits.imported_usage.legacy_id is 'The entry''s id in the old history: each is imported once.';

-- The view credit_usage_logs shows -import_no as the id, and pages by it.
create index imported_usage_ids on credits.imported_usage (user_id, (-import_no));

create table credits.credit_ledger_archive (
  like credits.credit_ledger,
  constraint credit_ledger_archive_pkey primary key (user_id, credit_type, entry_no)
);

comment on table credits.credit_ledger_archive is
  'Entries that archive_ledger() moved out of credit_ledger, as they were. The last of them per wallet has an entry of kind opening in its place there. '
  'The view credit_entries reads both.';

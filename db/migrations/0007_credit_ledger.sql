-- No foreign key to the wallet and no check: each would cost every charge, and verify_ledger() proves the books. What is of fixed width first, as that
-- saves each entry eight bytes.
create table credits.credit_ledger (
  user_id uuid not null,
  entry_no bigint not null,
  created_at timestamptz not null,
  grant_no bigint,
  key_hash bigint,
  related_entry_no bigint,
  reference_id uuid,
  duration_seconds integer,
  credit_type text not null,
  kind text not null,
  amount numeric(20,6) not null,
  balance_after numeric(20,6) not null,
  action_type text,
  unit_price numeric(20,6),
  quantity numeric(20,6),
  allocations jsonb,
  row_source text,
  row_id text,
  idempotency_key text,
  reference text,
  cost_breakdown jsonb,
  actor text,
  session_role text not null,
  metadata jsonb not null,
  counted_in text,
  constraint credit_ledger_pkey primary key (user_id, credit_type, entry_no)
);

comment on table credits.credit_ledger is
  'The journal: every movement of every wallet, numbered without gaps, never changed. Sum of amount = balance of the wallet.';
comment on column credits.credit_ledger.kind is 'grant, usage, hold, release, refund, expiry, revocation, adjustment, debt, or opening: in place of the archived entries up to it.';
comment on column credits.credit_ledger.grant_no is
  'The grant that the whole amount came from or went to; null where allocations says it, or where there was none.';
comment on column credits.credit_ledger.allocations is
  'Of a grant, and where one grant did not do: what came from or went to each, [{"grant": entry number, "source": …, "amount": …}]; source debt (grant null) for what was overdrawn or paid off.';
comment on column credits.credit_ledger.row_source is 'For a charge made for an application''s row: the source that its table was attached as; row_id is the row''s id as text.';
comment on column credits.credit_ledger.idempotency_key is
  'Of a charge by a direct caller: for 30 days the same request charges nothing more. Gone when the key is used again after that, and with erase_user_data().';
comment on column credits.credit_ledger.key_hash is 'Of row_id or idempotency_key, with the user''s id: credits.key_hash().';
comment on column credits.credit_ledger.reference_id is 'What a direct caller said the charge was for. It deduplicates nothing; an idempotency key does.';
comment on column credits.credit_ledger.related_entry_no is
  'The entry that this one follows from: the charge of a refund, the hold of a release or of the usage that settles it.';
comment on column credits.credit_ledger.counted_in is
  'Of the usage of an action that the plan limits: the counter in usage_counters that counts its quantity, by period and number.';
comment on column credits.credit_ledger.actor is 'The transaction setting credits.actor: on whose behalf the session role acted.';

-- What was charged once must not be charged again: the identity of an application's row, for ever, or a caller's key. Looked for under the wallet's lock,
-- or proven under it. The hash is a fraction of the size, and the one way to find a key: by an index with the user's id in it the planner, while it has no
-- statistics, might as well read all entries of the user. Charges without a key are not in it.
create index credit_ledger_keys on credits.credit_ledger (key_hash) where key_hash is not null;

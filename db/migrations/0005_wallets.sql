-- What is of fixed width and never null first: all columns are read and written by every charge, and these need no looking for.
create table credits.wallets (
  user_id uuid not null,
  entry_no bigint not null default 0,
  change_no bigint not null default 0,
  version bigint not null default 0,
  last_entry_at timestamptz not null,
  next_due_at timestamptz not null default 'infinity',
  next_reset_at timestamptz not null default 'infinity',
  is_active boolean not null,
  credit_type text not null,
  balance numeric(20,6) not null default 0,
  held numeric(20,6) not null default 0,
  debt numeric(20,6) not null default 0,
  purchase_debt numeric(20,6) not null default 0,
  owed numeric(20,6) not null default 0,
  alert_at numeric(20,6) not null default -1,
  low_threshold numeric(20,6),
  open_remaining numeric(20,6),
  open_grant_no bigint,
  reset_grant_no bigint,
  allowance_period integer,
  last_reset_at timestamptz,
  rolled_back_reset_at timestamptz,
  told_reset_at timestamptz,
  -- No check and no foreign key, from here or to here: each would cost every charge a few per cent. The two statements that write a wallet see to
  -- it that nothing is overdrawn (the usual charge by its condition, save_wallet() by a refusal), and verify_ledger() proves all the rest.
  constraint wallets_pkey primary key (user_id, credit_type)
) with (fillfactor = 70);

comment on table credits.wallets is
  'One row per user and credit type, and the row that every writer locks first. Spendable is balance + debt. Whatever is written '
  'under the lock also updates this row, so that a REPEATABLE READ caller who comes second gets 40001 instead of a stale view.';
comment on column credits.wallets.balance is 'Sum of the ledger; what is left of the grants minus the debt. Held credits are not in it.';
comment on column credits.wallets.entry_no is 'Number of the newest ledger entry.';
comment on column credits.wallets.change_no is 'Counts every change that somebody watching wants to see, entries and notifications alike.';
comment on column credits.wallets.version is 'Counts what save_wallet() wrote, which refuses to write over another''s.';
comment on column credits.wallets.is_active is 'Whether the account may spend: its status is active. A trigger on accounts keeps it so.';
comment on column credits.wallets.next_due_at is 'No later than the first moment at which a grant expires, an allowance renews or a hold lapses.';
comment on column credits.wallets.allowance_period is 'Number of the last period whose allowance was granted; null if the plan renews nothing here.';
comment on column credits.wallets.reset_grant_no is 'The grant that began the running period; null if that brought none.';
comment on column credits.wallets.purchase_debt is 'The part of debt that refunded purchases left, which only purchased credits pay.';
comment on column credits.wallets.owed is 'Sum of credits_owed of the user''s chat sessions: not in the balance, paid as soon as credits come.';
comment on column credits.wallets.open_remaining is
  'The slice of the grant that is being spent (open_grant_no), on top of what stored_grants says is left of it. Kept here so that the usual charge '
  'writes one wallet and one entry. It ends where there is something to tell (alert_at), so that the usual charge need not look.';
comment on column credits.wallets.low_threshold is 'The user is told once when what can be spent falls to this; null for never.';
comment on column credits.wallets.alert_at is 'The next level of what can be spent at which there is something to tell: low_threshold, 0, or -1 when all is told.';

-- For settle_due_wallets(). No charge changes the column, so none writes the index.
create index wallets_next_due on credits.wallets (next_due_at) where next_due_at < 'infinity';

create table credits.wallets (
  user_id uuid not null,
  credit_type text not null,
  balance numeric(20,6) not null default 0,
  held numeric(20,6) not null default 0,
  debt numeric(20,6) not null default 0,
  entry_no bigint not null default 0,
  change_no bigint not null default 0,
  is_active boolean not null,
  last_entry_at timestamptz not null,
  next_due_at timestamptz not null default 'infinity',
  allowance_period integer,
  last_reset_at timestamptz,
  next_reset_at timestamptz not null default 'infinity',
  open_grant_no bigint,
  open_remaining numeric(20,6),
  constraint wallets_pkey primary key (user_id, credit_type),
  -- The last net under every charge, and the only one: each check, and each foreign key from or to this table, would cost every charge
  -- a few per cent. The rest (the account, debt, held, the open grant, the ledger's kinds) verify_ledger() proves.
  constraint wallets_balance_not_overdrawn check (balance + debt >= 0)
) with (fillfactor = 70);

comment on table credits.wallets is
  'One row per user and credit type, and the row that every writer locks first. Spendable is balance + debt. Whatever is written '
  'under the lock also updates this row, so that a REPEATABLE READ caller who comes second gets 40001 instead of a stale view.';
comment on column credits.wallets.balance is 'Sum of the ledger; what is left of the grants minus the debt. Held credits are not in it.';
comment on column credits.wallets.entry_no is 'Number of the newest ledger entry.';
comment on column credits.wallets.change_no is 'Counts every change that somebody watching wants to see, entries and notifications alike.';
comment on column credits.wallets.is_active is 'Whether the account may spend: its status is active. A trigger on accounts keeps it so.';
comment on column credits.wallets.next_due_at is 'No later than the first moment at which a grant expires or an allowance renews.';
comment on column credits.wallets.allowance_period is 'Number of the last period whose allowance was granted; null if the plan renews nothing here.';
comment on column credits.wallets.open_remaining is
  'What is left of the grant that is being spent. Kept here so that the usual charge writes one wallet and one entry; stored_grants has it only after a flush.';

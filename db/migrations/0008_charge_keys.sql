create table credits.charge_keys (
  user_id uuid not null,
  credit_type text not null,
  source text not null,
  key text not null,
  function_name text not null,
  fingerprint text,
  entry_no bigint,
  result jsonb,
  created_at timestamptz not null,
  expires_at timestamptz not null,
  constraint charge_keys_pkey primary key (user_id, credit_type, source, key)
);

comment on table credits.charge_keys is
  'What was done once and must not be done again, where no entry of credit_ledger says so itself. source caller: an idempotency key, with the request''s '
  'fingerprint and its stored result, for 30 days. Any other source: the identity of an application''s row, for ever: of a charge that was archived, or '
  'another one of a row that was charged. Read and written under the wallet''s lock.';

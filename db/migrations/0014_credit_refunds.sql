create table credits.credit_refunds (
  user_id uuid not null,
  credit_type text not null,
  log_id bigint not null,
  refund_no bigint not null,
  amount numeric(20,6) not null,
  constraint credit_refunds_pkey primary key (user_id, credit_type, log_id, refund_no),
  constraint credit_refunds_amount_positive check (amount > 0)
);

comment on table credits.credit_refunds is
  'How much of a charge (log_id, its entry number) was refunded by which entry, so that no charge is refunded beyond its amount. Written under the wallet''s lock.';

create or replace function credits.lock_purchase(
  p_user_id uuid,
  p_purchase_id uuid,
  out wallet credits.wallets,
  out purchase credits.credit_purchases,
  out now timestamptz
)
returns record
language plpgsql
volatile
as $$
begin
  perform credits.check_argument(p_user_id is not null, 'p_user_id', 'must not be null');
  perform credits.check_argument(p_purchase_id is not null, 'p_purchase_id', 'must not be null');
  wallet := credits.lock_wallet(p_user_id, 'credits');
  now := greatest(credits.clock_now(), wallet.last_entry_at);
  select p.* into purchase
  from credits.credit_purchases p
  where p.user_id = p_user_id and p.purchase_id = p_purchase_id;
end
$$;

comment on function credits.lock_purchase(uuid, uuid) is
  'Internal. Locks the user''s wallet of credits, which guards the purchases, and then reads the purchase; either is null if there is none.';

create or replace function credits.resume_top_up(p_purchase credits.credit_purchases)
returns void
language plpgsql
volatile
as $$
begin
  update credits.top_ups t
  set purchase_id = nullif(t.purchase_id, p_purchase.purchase_id),
    leased_until = case when t.purchase_id <> p_purchase.purchase_id then t.leased_until end,
    failed_at = null,
    failure_reason = null
  where t.user_id = p_purchase.user_id and (t.purchase_id = p_purchase.purchase_id or t.failed_at is not null);
end
$$;

comment on function credits.resume_top_up(credits.credit_purchases) is
  'Internal. A purchase was paid: the automatic top-up that it was is done, and one that had stopped goes on. The caller holds the lock of the wallet of credits.';

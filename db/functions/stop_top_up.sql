create or replace function credits.stop_top_up(
  p_purchase credits.credit_purchases,
  p_reason text,
  p_now timestamptz
)
returns void
language plpgsql
volatile
as $$
declare
  v_is_on boolean;
begin
  update credits.top_ups t
  set purchase_id = nullif(t.purchase_id, p_purchase.purchase_id),
    leased_until = case when t.purchase_id <> p_purchase.purchase_id then t.leased_until end,
    failed_at = case when t.is_on then p_now end,
    failure_reason = case when t.is_on then p_reason end
  where t.user_id = p_purchase.user_id and (t.purchase_id = p_purchase.purchase_id or (t.is_on and t.failed_at is null))
  returning t.is_on into v_is_on;
  if v_is_on then
    perform credits.notify(p_purchase.user_id, 'top_up_failed', 'warning', 'credits', '', 'Automatic top-up stopped',
      format('%s: %s. Nothing more is charged until you buy credits or set the top-up again.',
        case p_purchase.status when 'failed' then format('The payment for %s credits failed', trim_scale(p_purchase.credits)) else 'A payment was taken back' end,
        rtrim(p_reason, '.')),
      jsonb_build_object('purchase_id', p_purchase.purchase_id, 'package_id', p_purchase.package_id, 'price_minor', p_purchase.price_minor,
        'currency', p_purchase.currency, 'reason', p_reason), p_now);
  end if;
end
$$;

comment on function credits.stop_top_up(credits.credit_purchases, text, timestamptz) is
  'Internal. A purchase of automatic top-up failed, or was refunded, or any was disputed: nothing more is charged by itself, and the user is told so. The caller holds '
  'the lock of the wallet of credits, and moves change_no.';

create or replace function credits.top_up_spent(
  p_user_id uuid,
  p_at timestamptz,
  p_currency text
)
returns bigint
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_spent bigint;
begin
  select coalesce(sum(p.price_minor), 0) into v_spent
  from credits.accounts a
  join credits.credit_purchases p on p.user_id = a.user_id
  where a.user_id = p_user_id and p.user_id = p_user_id and p.is_top_up and p.currency = p_currency
    and not (p.status = 'failed' and p.is_declined)
    and p.created_at >= date_trunc('month', p_at at time zone a.time_zone) at time zone a.time_zone;
  return v_spent;
end
$$;

comment on function credits.top_up_spent(uuid, timestamptz, text) is
  'Internal. What automatic top-ups begun in the calendar month of a moment, in the account''s time zone, have charged in a currency or may still charge: all but those of which the '
  'provider itself says that nothing was paid. One that was given up counts, as its payment may arrive late, and so does one that was refunded.';

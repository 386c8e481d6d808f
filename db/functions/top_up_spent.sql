create or replace function credits.top_up_spent(
  p_user_id uuid,
  p_at timestamptz
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
  where a.user_id = p_user_id and p.user_id = p_user_id and p.is_top_up and p.status <> 'failed'
    and p.created_at >= date_trunc('month', p_at at time zone a.time_zone) at time zone a.time_zone;
  return v_spent;
end
$$;

comment on function credits.top_up_spent(uuid, timestamptz) is
  'Internal. What automatic top-ups have charged in the calendar month of a moment, in the account''s time zone, with what is under way and what was refunded since.';

create or replace function credits.book_minutes(
  p_user_id uuid,
  p_minutes bigint
)
returns void
language plpgsql
volatile
as $$
begin
  update credits.accounts a
  set total_minutes_used = a.total_minutes_used + p_minutes
  where a.user_id = p_user_id;
end
$$;

comment on function credits.book_minutes(uuid, bigint) is
  'Internal. Adds charged call minutes to the account. Locks the account row, always after the wallet.';

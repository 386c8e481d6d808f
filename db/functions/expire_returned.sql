create or replace function credits.expire_returned(
  p_wallet credits.wallets,
  p_at timestamptz,
  p_allocations jsonb
)
returns credits.wallets
language plpgsql
volatile
as $$
declare
  v_grant_no bigint;
begin
  for v_grant_no in
    select g.grant_no
    from credits.stored_grants g
    where g.user_id = p_wallet.user_id and g.credit_type = p_wallet.credit_type and g.expires_at <= p_at and g.remaining > 0
      and g.grant_no in (select (d.value ->> 'grant')::bigint from jsonb_array_elements(p_allocations) d)
    order by g.expires_at, g.grant_no
  loop
    p_wallet := credits.expire_grant(p_wallet, p_at, v_grant_no);
  end loop;
  return p_wallet;
end
$$;

comment on function credits.expire_returned(credits.wallets, timestamptz, jsonb) is
  'Internal. What went back to a grant that had expired meanwhile expires at once. The caller holds the wallet''s lock, has flushed its open '
  'grant, and saves the returned wallet.';

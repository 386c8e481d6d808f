create or replace function credits.list_purchases(
  p_user_id uuid,
  p_limit integer default 50,
  p_after_at timestamptz default null,
  p_after_id uuid default null,
  p_purchase_id uuid default null
)
returns table (
  purchase_id uuid,
  package_id text,
  status text,
  credits numeric,
  price_minor bigint,
  currency text,
  features jsonb,
  provider text,
  provider_reference text,
  refunded_minor bigint,
  refunded_credits numeric,
  is_top_up boolean,
  checkout_reference text,
  checkout_url text,
  failure_reason text,
  created_at timestamptz,
  completed_at timestamptz,
  package_name text,
  metadata jsonb
)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  perform credits.check_argument(p_user_id is not null, 'p_user_id', 'must not be null');
  perform credits.check_argument(p_limit between 1 and 1000, 'p_limit', 'must be 1 to 1000');
  perform credits.check_argument((p_after_at is null) = (p_after_id is null), 'p_after_id', 'must be given with p_after_at, and only then');
  return query
    select p.purchase_id, p.package_id, p.status, trim_scale(p.credits), p.price_minor, p.currency, p.features, p.provider, p.provider_reference,
      p.refunded_minor, trim_scale(p.refunded_credits), p.is_top_up, p.checkout_reference,
      case when p.status = 'pending' then p.checkout_url end, p.failure_reason, p.created_at, p.completed_at, k.package_name, p.metadata
    from credits.credit_purchases p
    join credits.credit_packages k on k.package_id = p.package_id
    where p.user_id = p_user_id and p.purchase_id = coalesce(p_purchase_id, p.purchase_id)
      and (p_after_id is null or (p.created_at, p.purchase_id) < (p_after_at, p_after_id))
    order by p.created_at desc, p.purchase_id desc
    limit p_limit;
end
$$;

comment on function credits.list_purchases(uuid, integer, timestamptz, uuid, uuid) is
  'A user''s purchases, the newest first, or one of them (p_purchase_id). At most p_limit (1 to 1000); created_at and purchase_id of the last row, given as p_after_at '
  'and p_after_id, lead to the next page. checkout_url: where a pending one can still be paid. Locks nothing. Raises UC001 for malformed arguments.';

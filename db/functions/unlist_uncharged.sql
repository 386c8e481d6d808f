create or replace function credits.unlist_uncharged(
  p_user_id uuid,
  p_source text,
  p_row_ids text[]
)
returns void
language plpgsql
volatile
as $$
begin
  delete from credits.uncharged_rows u
  where u.user_id = p_user_id and u.source = p_source and u.row_id = any (p_row_ids);
end
$$;

comment on function credits.unlist_uncharged(uuid, text, text[]) is
  'Internal. Takes rows that have been charged after all off the list of uncharged ones. Under the wallet''s lock.';

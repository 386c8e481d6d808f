create or replace function credits.carry_identity(
  p_source text,
  p_action_type text,
  p_old_user_id uuid,
  p_old_row_id text,
  p_new_user_id uuid,
  p_new_row_id text
)
returns void
language plpgsql
volatile
as $$
declare
  v_credit_type text := (credits.cost_of(p_action_type)).credit_type;
  v_wallet credits.wallets;
  v_user_id uuid;
begin
  for v_user_id in select distinct u.id from unnest(array[p_old_user_id, p_new_user_id]) u (id) order by u.id loop
    v_wallet := credits.lock_wallet(v_user_id, v_credit_type);
    if v_user_id = p_new_user_id and v_wallet.user_id is not null then
      v_wallet.change_no := v_wallet.change_no + 1;
      perform credits.save_wallet(v_wallet);
    end if;
  end loop;

  -- What the old user still owes for the row stays with that user, so it is not the new one's to pay either.
  if exists (
    select from credits.uncharged_rows u where u.user_id = p_new_user_id and u.source = p_source and u.row_id = p_new_row_id
  ) then
    -- The new identity owes for itself, as when the row comes back to a user who still owes for it.
    return;
  elsif exists (
    select from credits.known_rows(p_old_user_id, v_credit_type, p_source, array[p_old_row_id], false)
  ) or (p_old_user_id <> p_new_user_id and exists (
    select from credits.uncharged_rows u where u.user_id = p_old_user_id and u.source = p_source and u.row_id = p_old_row_id
  )) then
    -- It may have been charged itself, and be back.
    insert into credits.charge_keys (user_id, credit_type, source, key, function_name, created_at, expires_at)
    select p_new_user_id, v_credit_type, p_source, p_new_row_id, 'carry_identity', credits.clock_now(), 'infinity'
    where not exists (select from credits.known_rows(p_new_user_id, v_credit_type, p_source, array[p_new_row_id], false));
  elsif p_old_user_id = p_new_user_id then
    update credits.uncharged_rows u
    set row_id = p_new_row_id
    where u.user_id = p_old_user_id and u.source = p_source and u.row_id = p_old_row_id
      and not exists (select from credits.known_rows(p_new_user_id, v_credit_type, p_source, array[p_new_row_id], false));
  end if;
end
$$;

comment on function credits.carry_identity(text, text, uuid, text, uuid, text) is
  'Internal. A charged row got another id or user: the new identity counts as charged too, so that completing it again charges nothing; a row '
  'listed as uncharged goes on being listed, once. Locks the wallets of both users in ascending order.';

create or replace function credits.emit_purchase(
  p_user_id uuid,
  p_type text,
  p_outcome jsonb,
  p_now timestamptz
)
returns void
language plpgsql
volatile
as $$
begin
  perform credits.emit_event(p_user_id, p_type, p_outcome - '{success,code,error,replayed}'::text[], p_now);
end
$$;

comment on function credits.emit_purchase(uuid, text, jsonb, timestamptz) is
  'Internal. The event of an operation on a purchase: what the operation returned.';

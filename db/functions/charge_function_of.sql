create or replace function credits.charge_function_of(p_source text)
returns text
language plpgsql
immutable
as $$
begin
  return 'charge_rows_' || left(encode(sha256(convert_to(p_source, 'UTF8')), 'hex'), 16);
end
$$;

comment on function credits.charge_function_of(text) is
  'Internal. The name of the trigger function that charges the rows of a source that attach_charge() attached.';

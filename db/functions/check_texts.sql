create or replace function credits.check_texts(
  p_metadata jsonb,
  p_idempotency_key text,
  p_reference text default null
)
returns void
language plpgsql
volatile
as $$
begin
  if p_metadata is distinct from '{}' then
    perform credits.check_argument(jsonb_typeof(p_metadata) = 'object', 'p_metadata', 'must be a JSON object');
    perform credits.check_argument(octet_length(p_metadata::text) <= 16384, 'p_metadata', 'must be at most 16 KB');
  end if;
  if p_idempotency_key is not null then
    perform credits.check_argument(length(p_idempotency_key) between 1 and 255, 'p_idempotency_key', 'must have 1 to 255 characters');
  end if;
  if p_reference is not null then
    perform credits.check_argument(length(p_reference) between 1 and 255, 'p_reference', 'must have 1 to 255 characters');
  end if;
end
$$;

comment on function credits.check_texts(jsonb, text, text) is
  'Internal. Raises UC001 unless the metadata is a JSON object of at most 16 KB and key and reference, where given, have 1 to 255 characters.';

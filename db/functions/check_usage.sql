create or replace function credits.check_usage(p_usage jsonb)
returns void
language plpgsql
volatile
as $$
declare
  c_fields constant text[] := array['service', 'tokensUsed', 'responseTime', 'success', 'timestamp', 'metadata'];
  v_field text;
  v_value jsonb;
  v_number numeric;
begin
  perform credits.check_argument(jsonb_typeof(p_usage) = 'object', 'p_usage', 'must be a JSON object');
  perform credits.check_argument(octet_length(p_usage::text) <= 16384, 'p_usage', 'must be at most 16 KB');
  perform credits.check_argument(jsonb_typeof(p_usage -> 'success') = 'boolean', 'p_usage.success', 'must be true or false');
  for v_field, v_value in select e.key, e.value from jsonb_each(p_usage) e order by e.key loop
    if v_field <> all (c_fields) then
      perform credits.check_argument(false, 'p_usage.' || left(v_field, 100), 'is not one of ' || array_to_string(c_fields, ', '));
    end if;
    continue when jsonb_typeof(v_value) = 'null';
    if v_field = 'service' then
      perform credits.check_argument(jsonb_typeof(v_value) = 'string' and length(v_value #>> '{}') between 1 and 255,
        'p_usage.service', 'must be a text of 1 to 255 characters');
    elsif v_field in ('tokensUsed', 'responseTime') then
      perform credits.check_argument(jsonb_typeof(v_value) = 'number', 'p_usage.' || v_field, 'must be a number');
      v_number := v_value::numeric;
      perform credits.check_argument(v_number between 0 and 1000000000000, 'p_usage.' || v_field, 'must be 0 to 1000000000000');
    elsif v_field = 'timestamp' then
      perform credits.check_argument(jsonb_typeof(v_value) = 'string' and credits.iso_timestamp(v_value #>> '{}') is not null,
        'p_usage.timestamp', 'must be an ISO 8601 timestamp with offset, such as 2026-01-31T23:59:59Z');
    elsif v_field = 'metadata' then
      perform credits.check_argument(jsonb_typeof(v_value) = 'object', 'p_usage.metadata', 'must be a JSON object');
    end if;
  end loop;
end
$$;

comment on function credits.check_usage(jsonb) is
  'Internal. Raises UC001, naming the field, unless the object is what track_usage_and_deduct_credits takes as usage. A field that is null counts as left out.';

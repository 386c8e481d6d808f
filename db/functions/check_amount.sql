create or replace function credits.check_amount(
  p_argument text,
  p_value numeric
)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  -- NaN and Infinity compare greater than every number, so the upper bound refuses them too.
  if p_value > 0 and p_value <= 1000000000 and scale(trim_scale(p_value)) <= 6 then
    return;
  end if;
  perform credits.check_argument(p_value is not null, p_argument, 'must not be null');
  perform credits.check_argument(p_value not in ('NaN', 'Infinity', '-Infinity'), p_argument, 'must be a finite number');
  perform credits.check_argument(p_value > 0, p_argument, 'must be greater than zero');
  perform credits.check_argument(p_value <= 1000000000, p_argument, 'must be at most 1000000000');
  perform credits.check_argument(false, p_argument, 'must have at most 6 decimals');
end
$$;

comment on function credits.check_amount(text, numeric) is
  'Internal. Raises UC001 unless the value is a number above 0, at most 1e9, with at most 6 decimals.';

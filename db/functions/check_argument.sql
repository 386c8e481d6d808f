create or replace function credits.check_argument(
  p_holds boolean,
  p_argument text,
  p_problem text
)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_holds is not true then
    perform credits.fail('UC001', format('invalid argument %s: %s', p_argument, p_problem),
      jsonb_build_object('code', 'invalid_argument', 'argument', p_argument, 'problem', p_problem));
  end if;
end
$$;

comment on function credits.check_argument(boolean, text, text) is
  'Internal. Raises UC001, naming the argument and the problem, unless the condition is true; null counts as false.';

create type credits.charge_request as (
  n integer,
  user_id uuid,
  credit_type text,
  action_type text,
  quantity numeric,
  reference_id uuid,
  metadata jsonb,
  key text,
  actor text,
  action_name text,
  price numeric,
  amount numeric,
  position integer,
  running numeric,
  is_last boolean
);

comment on type credits.charge_request is
  'Internal. The nth request of deduct_credits_batch(), with its usual price, and its place among those for the same wallet: position, running (sum of '
  'the amounts up to it) and whether it is the last. An array of these is read at once, which many arrays of values are not.';

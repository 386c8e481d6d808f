-- The accounts that all contestants share, and what the contestants that are not CreditDb need. :accounts is how many.
create function public.account(n bigint) returns uuid language sql immutable as
  $$ select ('00000000-0000-4000-8000-' || lpad(to_hex(n), 12, '0'))::uuid $$;

-- The writes that no design can avoid.
create table public.floor_balances (id uuid primary key, entry_no bigint not null default 0, balance numeric(20,6) not null) with (fillfactor = 70);
create table public.floor_history (
  id uuid, entry_no bigint, amount numeric(20,6) not null, balance numeric(20,6) not null, created_at timestamptz not null default now(),
  primary key (id, entry_no));
insert into public.floor_balances (id, balance) select public.account(n), 1000000 from generate_series(1, :accounts) n;

-- What most products do: read the price, read the balance, write it back, log it. Two callers at once lose one of the writes.
create table public.naive_prices (action_type text primary key, price numeric(20,6) not null);
create table public.naive_balances (id uuid primary key, balance numeric(20,6) not null) with (fillfactor = 70);
create table public.naive_log (
  log_id bigint generated always as identity primary key, id uuid not null, action_type text not null, amount numeric(20,6) not null,
  created_at timestamptz not null default now());
create index naive_log_id on public.naive_log (id, created_at);
insert into public.naive_prices values ('weekly_report', 1);
insert into public.naive_balances select public.account(n), 1000000 from generate_series(1, :accounts) n;

create function public.naive_charge(p_id uuid, p_action_type text) returns boolean language plpgsql as $$
declare
  v_price numeric;
  v_balance numeric;
begin
  select price into v_price from public.naive_prices where action_type = p_action_type;
  select balance into v_balance from public.naive_balances where id = p_id;
  if v_balance < v_price then
    return false;
  end if;
  update public.naive_balances set balance = v_balance - v_price where id = p_id;
  insert into public.naive_log (id, action_type, amount) values (p_id, p_action_type, v_price);
  return true;
end
$$;

-- A table whose rows charge.
create table public.reports (id uuid primary key default gen_random_uuid(), user_id uuid not null, name text not null);

select count(credits.open_account(public.account(n), 'paid')) from generate_series(1, :accounts) n;
select count(credits.add_purchased_credits(public.account(n), 1000000)) from generate_series(1, :accounts) n;
-- Opens every wallet's grant, as in any account that was charged before.
select count(credits.deduct_credits_for_action(public.account(n), 'weekly_report')) from generate_series(1, :accounts) n;
select credits.attach_charge('public.reports', 'weekly_report');

create table public.simple_accounts (aid int primary key, abalance int not null) with (fillfactor = 70);
create table public.simple_history (aid int, delta int, mtime timestamp);
insert into public.simple_accounts select n, 0 from generate_series(1, :accounts) n;

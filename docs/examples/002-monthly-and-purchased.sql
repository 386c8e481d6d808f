-- Monthly and purchased credits: monthly first, renewed each month; purchased ones stay.

-- Its own clock, which stands still: only in a database of its own.
set timezone = 'UTC';
create or replace function credits.clock_now() returns timestamptz language plpgsql volatile as $$
begin
  return current_setting('example.now')::timestamptz;
end
$$;

create function public.ada() returns uuid language sql immutable as $$ select credits.user_id_for('https://example.com', 'ada') $$;
create view public.balance as
select b ->> 'total' as total, b ->> 'monthly' as monthly, b ->> 'purchased' as purchased, left(b ->> 'next_monthly_reset', 16) as next_reset
from credits.get_credit_balance(public.ada()) b;

-- Opened on the 31st of January: a hundred credits a month.
set example.now = '2026-01-31 10:00';
select credits.open_account(public.ada(), 'free', 'Europe/Berlin') ->> 'plan_id' as plan;
select * from public.balance;

-- She buys fifty. The payment's id makes a repeated webhook one purchase.
set example.now = '2026-02-03 12:00';
select r ->> 'code' as code, r ->> 'balance_after' as balance, r ->> 'replayed' as replayed
from credits.add_purchased_credits(public.ada(), 50, 'invoice 7', 'payment 7') r;
select r ->> 'code' as code, r ->> 'balance_after' as balance, r ->> 'replayed' as replayed
from credits.add_purchased_credits(public.ada(), 50, 'invoice 7', 'payment 7') r;

-- Monthly credits are spent first. The charge that needs both is one entry, and says what it took from which.
set example.now = '2026-02-10 12:00';
select r ->> 'balance_after' as balance from credits.deduct_credits_for_action(public.ada(), 'create_agent', 19) r;
select r ->> 'balance_after' as balance from credits.deduct_credits_for_action(public.ada(), 'create_agent', 3) r;
select * from public.balance;
select l.id, l.action_type, l.amount_used, s.value ->> 'source' as source, s.value ->> 'amount' as amount
from credits.credit_usage_logs l
cross join lateral jsonb_array_elements(l.sources) with ordinality as s (value, n)
order by l.id, s.n;

-- February has no 31st. Readers see the new month as soon as it is there; nobody has to run anything.
set example.now = '2026-02-28 10:00';
select * from public.balance;
select count(*) as entries from credits.credit_ledger where credit_type = 'credits';

-- The next charge writes it down, dated when it was due. March is longer again.
set example.now = '2026-03-02 08:00';
select r ->> 'balance_before' as before, r ->> 'balance_after' as after
from credits.deduct_credits_for_action(public.ada(), 'prompt_generation') r;
select * from public.balance;

-- Two renewals pass without her. One allowance comes, the running month's; what was left of the last one is gone, what she bought is not.
set example.now = '2026-05-04 08:00';
select r ->> 'balance_before' as before, r ->> 'balance_after' as after
from credits.deduct_credits_for_action(public.ada(), 'prompt_generation') r;
select * from public.balance;
select entry_no, left(created_at::text, 16) as at, kind, trim_scale(amount) as amount, trim_scale(balance_after) as balance
from credits.credit_ledger
where credit_type = 'credits'
order by entry_no;

-- What she had at any moment.
select left(t::text, 16) as at, b ->> 'balance' as balance
from unnest(array['2026-02-01 00:00', '2026-02-10 12:00', '2026-03-01 00:00', '2026-05-04 08:00']::timestamptz[]) t
cross join lateral credits.get_balance_at(public.ada(), t) b;

-- The last renewal was a mistake: taken back by further entries.
select r ->> 'code' as code, r ->> 'revoked' as revoked, r ->> 'written_off' as written_off, r ->> 'balance_after' as balance
from credits.rollback_reset(public.ada(), 'credits',
  (credits.get_credit_balance(public.ada()) ->> 'last_monthly_reset')::timestamptz, 'renewed in error') r;
select * from public.balance;

select * from credits.verify_ledger();

-- Metered chat: free time, then a price per 15 seconds; what is added to credits_used is what leaves the account.

-- Its own clock, which stands still: only in a database of its own.
set timezone = 'UTC';
create or replace function credits.clock_now() returns timestamptz language plpgsql volatile as $$
begin
  return current_setting('example.now')::timestamptz;
end
$$;

create function public.ada() returns uuid language sql immutable as $$ select credits.user_id_for('https://example.com', 'ada') $$;
create function public.chat() returns uuid language sql immutable as $$ select '00000000-0000-0000-0000-000000000001'::uuid $$;
-- Some seconds later the client reports how long the chat has run in all.
create function public.report(p_seconds integer)
returns table (code text, advice text, free_left text, charged text, used text, owed text, available text)
language plpgsql as $$
declare
  r jsonb;
begin
  perform set_config('example.now', (timestamptz '2026-01-15 09:00' + p_seconds * interval '1 second')::text, false);
  r := credits.record_chat_time(public.ada(), public.chat(), p_seconds);
  return query select r ->> 'code', r ->> 'advice', r ->> 'free_seconds_left', r ->> 'credits_charged', r ->> 'credits_used', r ->> 'credits_owed', r ->> 'available';
end
$$;

-- A plan without allowance, and one credit. The first minute is free.
set example.now = '2026-01-15 09:00';
select credits.open_account(public.ada(), 'paid') ->> 'plan_id' as plan;
select credits.add_purchased_credits(public.ada(), 1, 'invoice 7', 'payment 7') ->> 'balance_after' as balance;
select r ->> 'code' as code, r ->> 'rate' as rate, r ->> 'interval_seconds' as interval_seconds, r ->> 'free_seconds' as free_seconds
from credits.open_chat_session(public.ada(), public.chat(), 60) r;

select * from public.report(45);
-- Whole intervals are charged; the same report again, or an older one, charges nothing.
select * from public.report(80);
select * from public.report(80);
select * from public.report(50);
-- A new price does not change the session's.
select r ->> 'cost_per_unit' as cost_per_unit from credits.set_cost('chat_time', 10) r;
select * from public.report(90);

-- The credits run out. The time is recorded all the same, and what could not be charged is owed.
select * from public.report(150);
select type, title, message from credits.notifications order by type;

-- The next purchase pays it.
select credits.add_purchased_credits(public.ada(), 5, 'invoice 8', 'payment 8') ->> 'code' as code;
select elapsed_seconds, charged_intervals, trim_scale(credits_used) as credits_used, trim_scale(credits_owed) as credits_owed
from credits.chat_sessions;
select id, trim_scale(quantity) as intervals, amount_used, balance_after from credits.credit_usage_logs order by id;

-- A client cannot run ahead of the clock.
set example.now = '2026-01-15 09:02:30';
select credits.record_chat_time(public.ada(), public.chat(), 3600);

select * from credits.verify_ledger();

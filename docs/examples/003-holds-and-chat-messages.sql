-- Reserve, work, then commit or release; and chat messages, which a paid plan does not count.

-- Its own clock, which stands still: only in a database of its own.
set timezone = 'UTC';
create or replace function credits.clock_now() returns timestamptz language plpgsql volatile as $$
begin
  return current_setting('example.now')::timestamptz;
end
$$;

create function public.ada() returns uuid language sql immutable as $$ select credits.user_id_for('https://example.com', 'ada') $$;
create view public.balance as
select b ->> 'total' as total, b ->> 'held' as held from credits.get_credit_balance(public.ada()) b;
-- An application keeps the id that reserve_credits returns; here it is the last one.
create function public.hold() returns uuid language sql stable as
  $$ select h.reservation_id from credits.credit_reservations h where h.user_id = public.ada() order by h.hold_entry_no desc limit 1 $$;

set example.now = '2026-01-15 09:00';
select credits.open_account(public.ada()) ->> 'plan_id' as plan;

-- Five documents are about to be written: their price leaves what can be spent.
select r ->> 'code' as code, r ->> 'credits_held' as held, left(r ->> 'expires_at', 16) as until
from credits.reserve_credits(public.ada(), 'brag_doc', 5) r;
select * from public.balance;

-- Four came of it. Committing again is the same answer.
set example.now = '2026-01-15 09:04';
select r ->> 'credits_deducted' as deducted, r ->> 'credits_released' as released, r ->> 'replayed' as replayed
from credits.commit_reservation(public.ada(), public.hold(), 4) r;
select r ->> 'credits_deducted' as deducted, r ->> 'credits_released' as released, r ->> 'replayed' as replayed
from credits.commit_reservation(public.ada(), public.hold(), 4) r;
select * from public.balance;

-- The next one fails: the credits go back.
select r ->> 'credits_held' as held from credits.reserve_credits(public.ada(), 'performance_review') r;
select r ->> 'credits_released' as released, r ->> 'balance_after' as balance
from credits.release_reservation(public.ada(), public.hold(), 'the model did not answer') r;

-- A third is forgotten. When its time is over it holds nothing any more.
select left(r ->> 'expires_at', 16) as until from credits.reserve_credits(public.ada(), 'weekly_report', 10, interval '10 minutes') r;
select * from public.balance;
set example.now = '2026-01-15 09:14';
select * from public.balance;

-- The work was done after all: committing it late charges it, if the balance allows.
select r ->> 'code' as code, r ->> 'credits_deducted' as deducted, r ->> 'balance_after' as balance
from credits.commit_reservation(public.ada(), public.hold()) r;

-- Two of the four documents were no good: half of that charge is given back, and not more than all of it.
select r ->> 'code' as code, r ->> 'credits_refunded' as refunded, r ->> 'refundable' as refundable, r ->> 'balance_after' as balance
from credits.credit_usage_logs l
cross join lateral credits.refund_credits(l.user_id, l.id, 4, 'no good') r
where l.action_type = 'brag_doc';
select r ->> 'code' as code, r ->> 'refundable' as refundable
from credits.credit_usage_logs l
cross join lateral credits.refund_credits(l.user_id, l.id, 5, 'no good either') r
where l.action_type = 'brag_doc';

select h.action_type, h.status, h.quantity::int, trim_scale(h.amount) as amount from credits.credit_reservations h order by h.hold_entry_no;
select entry_no, left(created_at::text, 16) as at, kind, action_type, trim_scale(amount) as amount, trim_scale(balance_after) as balance
from credits.credit_ledger
where credit_type = 'credits'
order by entry_no;

-- Chat messages are credits of another type. The free plan brings twenty, once.
select r ->> 'code' as code, r ->> 'remaining' as remaining from credits.deduct_chat_message(public.ada()) r;
select r ->> 'code' as code, r ->> 'available' as available from credits.deduct_credits_for_action(public.ada(), 'chat_message', 20) r;

-- The paid plan does not count them: remaining is null, and the message is logged at cost 0.
select r ->> 'plan_id' as plan from credits.change_plan(public.ada(), 'paid') r;
select r ->> 'code' as code, r ->> 'remaining' as remaining from credits.deduct_chat_message(public.ada()) r;
select id, action_type, amount_used, balance_after from credits.credit_usage_logs where credit_type = 'chat_messages' order by id;

select * from credits.verify_ledger();

-- Check before the work, charge after it, within the limits of a plan.

-- Its own clock, which stands still: only in a database of its own.
set timezone = 'UTC';
create or replace function credits.clock_now() returns timestamptz language plpgsql volatile as $$
begin
  return current_setting('example.now')::timestamptz;
end
$$;

create function public.ada() returns uuid language sql immutable as $$ select credits.user_id_for('https://example.com', 'ada') $$;

set example.now = '2026-01-15 09:00';
select credits.open_account(public.ada()) ->> 'plan_id' as plan;

-- Before the work: may she, and what would it cost? This is a forecast; nothing is taken.
select c ->> 'can_perform' as can_perform, c ->> 'credits_needed' as needed, c ->> 'credits_remaining' as remaining,
  c ->> 'limit_used' as used, c ->> 'limit' as limit, c ->> 'account_level' as level
from credits.can_perform_action(public.ada(), 'script_generation') c;

-- After the work: what it took, and the charge. The key makes a repeated report one charge; work that failed costs nothing.
select r ->> 'code' as code, r ->> 'credits_deducted' as deducted, r ->> 'balance_after' as balance, r ->> 'replayed' as replayed
from credits.track_usage_and_deduct_credits(public.ada(), 'script_generation',
  '{"success": true, "service": "gemini", "tokensUsed": 812, "responseTime": 950}', 'request 1') r;
select r ->> 'code' as code, r ->> 'credits_deducted' as deducted, r ->> 'balance_after' as balance, r ->> 'replayed' as replayed
from credits.track_usage_and_deduct_credits(public.ada(), 'script_generation',
  '{"success": true, "service": "gemini", "tokensUsed": 812, "responseTime": 950}', 'request 1') r;
select r ->> 'code' as code, r ->> 'credits_deducted' as deducted, r ->> 'recorded' as recorded
from credits.track_usage_and_deduct_credits(public.ada(), 'script_generation', '{"success": false, "service": "gemini"}') r;

-- The free plan has three scripts a month.
select n, r ->> 'code' as code, r ->> 'balance_after' as balance, r ->> 'used' as used, r ->> 'limit' as limit
from generate_series(2, 4) n
cross join lateral credits.deduct_credits_for_action(public.ada(), 'script_generation', p_idempotency_key => 'request ' || n) r;
select c ->> 'can_perform' as can_perform, c ->> 'code' as code, c ->> 'reason' as reason
from credits.can_perform_action(public.ada(), 'script_generation') c;
select severity, title, message from credits.notifications;

-- The pro plan has a hundred, at once, and its allowance is topped up to 5,000.
select r ->> 'plan_id' as plan, r -> 'granted' as granted from credits.change_plan(public.ada(), 'pro') r;
select c ->> 'can_perform' as can_perform, c ->> 'credits_remaining' as remaining, c ->> 'limit_used' as used, c ->> 'limit' as limit
from credits.can_perform_action(public.ada(), 'script_generation') c;

-- What she used: this period, and per feature.
select s ->> 'used' as used, s ->> 'limit' as limit, s ->> 'remaining' as remaining, s ->> 'percentage' as percentage
from credits.get_usage_stats(public.ada()) s;
select action_type, daily_uses, weekly_uses, monthly_uses, average_credits_per_action from credits.get_feature_usage(public.ada());

-- Bad input is named, and changes nothing.
select credits.deduct_credits_for_action(public.ada(), 'script_generation', -1);

-- A month later the limit counts from 0 again.
set example.now = '2026-02-15 09:00';
select c ->> 'limit_used' as used, c ->> 'limit' as limit from credits.can_perform_action(public.ada(), 'script_generation') c;

select * from credits.verify_ledger();

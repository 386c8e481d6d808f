-- Inserting or completing a row is the charge.

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

-- The price list is the only source of prices.
select action_type, action_name, cost_per_unit, unit_description
from credits.credit_costs
where action_type in ('create_agent', 'generate_template', 'agent_call_runtime', 'send_email', 'import_emails', 'prompt_formatting', 'prompt_generation')
order by action_type;

-- An agent and two templates.
insert into public.bots (user_id, name) values (public.ada(), 'Ada''s agent');
insert into public.email_templates (user_id, name) values (public.ada(), 'Welcome'), (public.ada(), 'Goodbye');

-- Calls are charged by the started minute when they are completed: 30 seconds are one, 90 are two.
insert into public.calls (user_id, status, duration_seconds) values (public.ada(), 'completed', 30);
insert into public.calls (user_id, status) values (public.ada(), 'in_progress');
update public.calls set status = 'completed', duration_seconds = 90 where status = 'in_progress';

-- A corrected duration or a second completion charges nothing more.
update public.calls set duration_seconds = 600 where duration_seconds = 90;
update public.calls set status = 'in_progress';
update public.calls set status = 'completed';

-- What leaves no row is charged by a function.
select credits.deduct_credits_for_email_send(public.ada()) ->> 'credits_deducted' as send_email,
  credits.deduct_credits_for_prompt_formatting(public.ada()) ->> 'credits_deducted' as prompt_formatting,
  credits.deduct_credits_for_prompt_generation(public.ada()) ->> 'credits_deducted' as prompt_generation,
  credits.deduct_credits_for_email_import_batch(public.ada(), 101) ->> 'credits_deducted' as import_of_101_emails;

select id, usage_type, action_type, trim_scale(amount_used) as amount_used, duration_seconds, trim_scale(balance_after) as balance_after
from credits.credit_usage_logs
order by id;
select total_minutes_used from credits.accounts;

-- A rollback refunds by itself.
begin;
insert into public.bots (user_id, name) select public.ada(), 'Agent ' || n from generate_series(1, 5) n;
select credits.get_credit_balance(public.ada()) ->> 'total' as inside;
rollback;
select credits.get_credit_balance(public.ada()) ->> 'total' as afterwards;

-- Where the credits do not suffice the row stays, is listed, and the user is told once.
insert into public.bots (user_id, name) select public.ada(), 'Agent ' || n from generate_series(1, 20) n;
select count(*) as uncharged, min(code) as code, trim_scale(sum(required)) as required from credits.uncharged_rows;
select severity, title, message from credits.notifications order by created_at, title;

-- Settled after a purchase.
select r ->> 'balance_after' as balance from credits.add_purchased_credits(public.ada(), 50, 'invoice 7', 'payment 7') r;
select r ->> 'rows_charged' as rows_charged, r ->> 'rows_left' as rows_left, r ->> 'deducted' as deducted from credits.charge_uncharged(public.ada()) r;

-- The price list can also have the statement fail instead.
select r ->> 'on_insufficient' as on_insufficient from credits.set_cost('create_agent', p_on_insufficient => 'reject') r;
insert into public.bots (id, user_id, name)
select ('00000000-0000-0000-0000-' || lpad(n::text, 12, '0'))::uuid, public.ada(), 'Agent ' || n from generate_series(21, 40) n;
select count(*) as bots from public.bots;

-- Any other table can be charged in the same way.
create table public.documents (id int primary key, user_id uuid not null, pages int not null);
select r ->> 'cost_per_unit' as cost_per_unit from credits.set_cost('translate_page', 0.25, 'Translate Page', 'per page') r;
select credits.attach_charge('public.documents', 'translate_page', p_quantity_column => 'pages') ->> 'code' as code;
insert into public.documents values (1, public.ada(), 3), (2, public.ada(), 1);
select action_type, trim_scale(quantity) as quantity, trim_scale(amount_used) as amount_used, row_id
from credits.credit_usage_logs
where row_source = 'public.documents'
order by id;

select * from credits.verify_ledger();
select * from credits.verify_attachments();

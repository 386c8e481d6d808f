using System.Data;
using System.Text.Json;

namespace CreditDb.Tests.Sql;

/// <summary>Allowances over time, the workers that settle the idle, and taking a reset back.</summary>
public sealed class ResetTests(TestDatabase db) : IClassFixture<TestDatabase>
{
    private const string Send = "select credits.deduct_credits_for_action($1, 'send_email')";
    private const string Rollback = "select credits.rollback_reset($1, 'credits', $2::timestamptz, 'wrong plan')";

    [Theory]
    [InlineData("free", "2026-01-31 12:00Z", "UTC", "2026-02-28 12:00Z", "2026-03-31 12:00Z")]
    [InlineData("free", "2024-01-31 12:00Z", "UTC", "2024-02-29 12:00Z", "2024-03-31 12:00Z")]
    [InlineData("free", "2024-02-29 12:00Z", "UTC", "2024-03-29 12:00Z", "2024-04-29 12:00Z")]
    [InlineData("free", "2026-03-10 12:00Z", "Europe/Berlin", "2026-04-10 11:00Z", "2026-05-10 11:00Z")]
    [InlineData("free", "2026-10-10 12:00Z", "Europe/Berlin", "2026-11-10 13:00Z", "2026-12-10 13:00Z")]
    [InlineData("free", "2026-02-20 12:00Z", "America/New_York", "2026-03-20 11:00Z", "2026-04-20 11:00Z")]
    [InlineData("free", "2026-03-20 12:00Z", "Australia/Lord_Howe", "2026-04-20 12:30Z", "2026-05-20 12:30Z")]
    [InlineData("free", "2026-01-30 20:00Z", "Asia/Kathmandu", "2026-02-27 20:00Z", "2026-03-30 20:00Z")]
    [InlineData("day", "2026-03-28 01:30Z", "Europe/Berlin", "2026-03-29 01:30Z", "2026-03-30 00:30Z")]
    [InlineData("day", "2026-10-24 00:30Z", "Europe/Berlin", "2026-10-25 01:30Z", "2026-10-26 01:30Z")]
    [InlineData("day", "2026-03-07 07:30Z", "America/New_York", "2026-03-08 07:30Z", "2026-03-09 06:30Z")]
    [InlineData("day", "2026-10-31 05:30Z", "America/New_York", "2026-11-01 06:30Z", "2026-11-02 06:30Z")]
    [InlineData("day", "2026-10-03 06:00Z", "Australia/Lord_Howe", "2026-10-04 05:30Z", "2026-10-05 05:30Z")]
    [InlineData("day", "2028-02-28 20:00Z", "Asia/Kathmandu", "2028-02-29 20:00Z", "2028-03-01 20:00Z")]
    public async Task An_allowance_renews_at_these_moments_and_not_a_microsecond_earlier(string plan, string opened, string zone, string first, string second)
    {
        await DailyPlan();
        await db.SetClock(opened);
        var user = Guid.NewGuid();
        await db.Run("select credits.open_account($1, $2, $3)", user, plan, zone);
        var allowance = await db.Balance(user);
        var spent = 0m;
        foreach (var reset in new[] { first, second })
        {
            var moment = DateTimeOffset.Parse(reset, System.Globalization.CultureInfo.InvariantCulture);
            await db.SetClock(moment.AddMicroseconds(-1).ToString("O"));
            await db.Run(Send, user);
            Assert.Equal(allowance - 0.5m, await db.Balance(user));
            Assert.Equal(moment, (await db.Json("select credits.get_credit_balance($1)", user)).GetProperty("next_monthly_reset").GetDateTimeOffset());
            await db.SetClock(reset);
            Assert.Equal(allowance, await db.Balance(user));
            spent += 0.5m;
        }
        Assert.Equal(spent, await db.Value<decimal>("select sum(amount_used) from credits.credit_usage_logs where user_id = $1", user));
    }

    [Fact]
    public async Task Every_moment_falls_into_exactly_one_period_in_every_zone()
    {
        var wrong = await db.Value<long>(
            """
            select count(*)
            from unnest(array['Europe/Berlin', 'America/New_York', 'Australia/Lord_Howe', 'Asia/Kathmandu', 'America/Havana', 'Africa/Cairo']) zone,
              unnest(array['day', 'month']) period,
              unnest(array['2023-01-31 00:10', '2023-10-29 02:30', '2024-02-29 23:59:59.999999', '2023-03-26 01:00']::timestamp[]) anchor,
              generate_series(timestamptz '2024-02-20 00:00Z', '2024-12-01 00:00Z', interval '7 hours 13 minutes') at,
              lateral credits.period_number(anchor at time zone zone, zone, period, at) n
            where not (credits.period_start(anchor at time zone zone, zone, period, n) <= at
              and at < credits.period_start(anchor at time zone zone, zone, period, n + 1))
            """);
        Assert.Equal(0, wrong);
    }

    [Theory]
    [InlineData("free", 100)]
    [InlineData("day", 10)]
    public async Task Several_missed_periods_pay_once(string plan, int allowance)
    {
        await DailyPlan();
        var user = await Open("2026-01-31 12:00Z", plan);
        await db.SetClock("2026-07-04 00:00Z");
        await db.Run(Send, user);
        Assert.Equal(["grant " + allowance, "expiry -" + allowance, "grant " + allowance, "usage -0.5"], await db.Ledger(user));
    }

    [Theory]
    [InlineData("update credits.plan_allowances set period = 'month', amount = 300 where plan_id = 'changing'", "2026-03-01", 300)]
    [InlineData("update credits.accounts set period_anchor = '2026-02-20 00:00Z' where plan_id = 'changing'", "2026-02-20", 10)]
    public async Task An_allowance_that_is_counted_otherwise_from_now_on_goes_on(string change, string from, int allowance)
    {
        await db.Run("insert into credits.plans (plan_id, plan_name) values ('changing', 'Changing') on conflict do nothing");
        await db.Run(
            "insert into credits.plan_allowances values ('changing', 'credits', 10, 'day') on conflict (plan_id, credit_type) do update set amount = 10, period = 'day'");
        var user = await Open("2026-01-01 00:00Z", "changing");
        await db.SetClock("2026-02-15 12:00Z");
        await db.Run(Send, user);
        await db.Run(change);
        foreach (var day in new[] { "2026-02-16", "2026-02-19" })
        {
            await db.SetClock($"{day} 12:00Z");
            await db.Value<int>("select credits.settle_due_wallets()");
        }
        await db.SetClock($"{from} 00:00Z");
        Assert.Equal(allowance, await db.Balance(user));
        await db.Run(Send, user);
        await db.SetClock("2026-04-01 12:00Z");
        Assert.Equal(allowance, await db.Balance(user));
    }

    [Theory]
    [InlineData(IsolationLevel.ReadCommitted)]
    [InlineData(IsolationLevel.RepeatableRead)]
    [InlineData(IsolationLevel.Serializable)]
    public async Task Charges_rows_holds_and_workers_meet_at_the_instant_of_the_reset(IsolationLevel level)
    {
        var user = await Open("2026-01-15 00:00Z");
        await db.SetClock("2026-02-15 00:00Z");
        await db.Race(16, level, async (c, i) =>
        {
            await c.Run((i % 4) switch
            {
                0 => "select credits.deduct_credits_for_action($1, 'prompt_formatting')",
                1 => "insert into public.email_templates (user_id, name) values ($1, 'a')",
                2 => "select credits.reserve_credits($1, 'prompt_formatting')",
                _ => "select credits.settle_due_wallets(100), $1::uuid",
            }, user);
            return default;
        });
        Assert.Equal(88, await db.Balance(user));
        Assert.Equal(["grant 100", "expiry -100", "grant 100"], (await db.Ledger(user)).Take(3));
        Assert.Equal(2, await db.Value<long>("select count(*) from credits.credit_grants where user_id = $1 and source = 'monthly'", user));
    }

    [Fact]
    public async Task Two_clocks_that_disagree_neither_pay_twice_nor_turn_time_back()
    {
        var user = await Open("2026-01-15 00:00Z");
        await db.Run("create or replace function credits.clock_now() returns timestamptz language sql volatile as $$ select coalesce(nullif(current_setting('test.clock', true), ''), '2026-02-15 00:00Z')::timestamptz $$");
        await db.Race(12, IsolationLevel.ReadCommitted, async (c, i) =>
        {
            // Half of them are two days behind, before the reset.
            await c.Run("select set_config('test.clock', $1, true)", i % 2 == 0 ? "2026-02-15 00:00:01Z" : "2026-02-13 00:00Z");
            for (var n = 0; n < 5; n++)
                await c.Run((n % 3) switch
                {
                    0 => "select credits.deduct_credits_for_action($1, 'prompt_formatting')",
                    1 => "insert into public.email_templates (user_id, name) values ($1, 'a')",
                    _ => "select credits.release_reservation($1, (credits.reserve_credits($1, 'prompt_formatting', 1, '10 minutes') ->> 'reservation_id')::uuid)",
                }, user);
            return default;
        });
        Assert.Equal(0, await db.Value<long>(
            "select count(*) from (select created_at < lag(created_at) over (order by entry_no) as back from credits.credit_ledger where user_id = $1 and credit_type = 'credits') e where back", user));
        Assert.Equal(2, await db.Value<long>("select count(*) from credits.credit_grants where user_id = $1 and source = 'monthly'", user));
        var ledger = await db.Ledger(user);
        Assert.Equal(100m - ledger.Skip(ledger.LastIndexOf("grant 100")).Count(e => e == "usage -1"), await db.Balance(user));
    }

    [Fact]
    public async Task Eight_workers_settle_each_wallet_once()
    {
        await db.SetClock("2026-01-15 00:00Z");
        await db.Run("select credits.settle_due_wallets(100000)");
        var users = await db.Column<Guid>("select u from (select gen_random_uuid() as u from generate_series(1, 300)) s where credits.open_account(u) is not null");
        await db.SetClock("2026-02-15 00:00Z");
        var outcomes = await db.Race(8, IsolationLevel.ReadCommitted, async (c, _) =>
        {
            var settled = 0;
            for (int n; (n = await c.Value<int>("select credits.settle_due_wallets(20)")) > 0;)
                settled += n;
            return JsonSerializer.SerializeToElement(settled);
        });
        // None is left, and each was renewed once; other tests' wallets may have been among them.
        Assert.True(outcomes.Sum(o => o.GetInt32()) >= 300);
        Assert.Equal(0, await db.Value<int>("select credits.settle_due_wallets(1000)"));
        Assert.Equal(300, await db.Value<long>(
            "select count(*) from (select user_id from credits.stored_grants where user_id = any ($1) and source = 'monthly' group by 1 having count(*) = 2) g", (object)users.ToArray()));
    }

    [Fact]
    public async Task A_worker_passes_over_a_wallet_that_somebody_uses()
    {
        var user = await Open("2026-01-15 00:00Z");
        await db.SetClock("2026-02-15 00:00Z");
        await using var holder = await db.Source.OpenConnectionAsync(TestContext.Current.CancellationToken);
        await holder.Run("begin");
        await holder.Run("select from credits.wallets where user_id = $1 for no key update", user);
        await db.Run("select credits.settle_due_wallets(100000)");
        Assert.Equal(["grant 100"], await db.Ledger(user));
        await holder.Run("commit");
        await db.Run("select credits.settle_due_wallets(100000)");
        Assert.Equal(["grant 100", "expiry -100", "grant 100"], await db.Ledger(user));
        Assert.Equal(["reset 1"], await db.Told(user));
    }

    [Fact]
    public async Task A_rolled_back_reset_restores_what_expired_and_no_later_operation_applies_it_again()
    {
        var user = await Open("2026-01-15 00:00Z");
        await db.Run("select credits.deduct_credits_for_action($1, 'create_agent', 6)", user);
        await db.SetClock("2026-02-16 00:00Z");
        await db.Run("select credits.deduct_credits_for_action($1, 'create_agent', 5)", user);
        var result = await db.Json(Rollback, user, "2026-02-15 00:00Z");
        Assert.Equal((75m, 25m, 70m, 70m), (result.Number("revoked"), result.Number("written_off"), result.Number("restored"), result.Number("balance_after")));
        Assert.Equal(["grant 100", "usage -30", "expiry -70", "grant 100", "usage -25", "revocation -75", "adjustment 70"], await db.Ledger(user));
        var before = await db.Snapshot(user);
        Assert.Equal("already_settled", (await db.Json(Rollback, user, "2026-02-15 00:00Z")).Text("code"));
        Assert.Equal(before, await db.Snapshot(user));
        await db.Run("select credits.settle_due_wallets(100000)");
        await db.Run(Send, user);
        await db.Run("select credits.change_plan($1, 'paid')", user);
        await db.Run("select credits.change_plan($1, 'free')", user);
        Assert.Equal(69.5m, await db.Balance(user));
        await db.SetClock("2026-03-14 23:59Z");
        Assert.Equal(69.5m, await db.Balance(user));
        await db.SetClock("2026-03-15 00:00Z");
        Assert.Equal(100, await db.Balance(user));
    }

    [Fact]
    public async Task Held_and_refunded_credits_of_a_revoked_grant_are_gone()
    {
        var user = await Open("2026-01-15 00:00Z");
        await db.Run("select credits.deduct_credits_for_action($1, 'create_agent', 20)", user);
        await db.SetClock("2026-02-16 00:00Z");
        await db.Run("select credits.add_purchased_credits($1, 5)", user);
        var log = (long)(await db.Json("select credits.deduct_credits_for_action($1, 'prompt_formatting', 20)", user)).Number("log_id");
        var ids = new List<Guid>();
        for (var i = 0; i < 3; i++)
            ids.Add((await db.Json("select credits.reserve_credits($1, 'prompt_formatting', 10, '2 days')", user)).GetProperty("reservation_id").GetGuid());
        var result = await db.Json(Rollback, user, "2026-02-15 00:00Z");
        Assert.Equal((50m, 50m, 0m, 5m), (result.Number("revoked"), result.Number("written_off"), result.Number("restored"), result.Number("balance_after")));
        await db.SetClock("2026-02-16 12:00Z");
        Assert.Equal(5m, (await db.Json("select credits.release_reservation($1, $2)", user, ids[0])).Number("balance_after"));
        Assert.Equal(("ok", 6m), Of(await db.Json("select credits.commit_reservation($1, $2, 6)", user, ids[1])));
        Assert.Equal(5m, (await db.Json("select credits.refund_credits($1, $2)", user, log)).Number("balance_after"));
        await db.SetClock("2026-02-18 12:00Z");
        var projected = await db.Json("select credits.get_credit_balance($1)", user);
        Assert.Equal((5m, 0m), (projected.Number("total"), projected.Number("held")));
        await db.Run("select credits.settle_due_wallets(100000)");
        Assert.Equal(projected.ToString(), (await db.Json("select credits.get_credit_balance($1)", user)).ToString());

        static (string, decimal) Of(JsonElement e) => (e.Text("code"), e.Number("credits_deducted"));
    }

    [Fact]
    public async Task A_hold_of_the_expired_grant_that_was_restored_comes_back_to_be_spent()
    {
        var user = await Open("2026-01-15 00:00Z");
        await db.SetClock("2026-02-14 00:00Z");
        var id = (await db.Json("select credits.reserve_credits($1, 'prompt_formatting', 30, '10 days')", user)).GetProperty("reservation_id").GetGuid();
        await db.SetClock("2026-02-16 00:00Z");
        await db.Run(Rollback, user, "2026-02-15 00:00Z");
        Assert.Equal(70, await db.Balance(user));
        await db.Run("select credits.release_reservation($1, $2)", user, id);
        Assert.Equal(100, await db.Balance(user));
    }

    [Fact]
    public async Task What_was_held_or_used_up_entirely_at_a_reset_that_is_rolled_back_comes_back_to_be_spent()
    {
        var user = await Open("2026-01-15 00:00Z");
        var log = (long)(await db.Json("select credits.deduct_credits_for_action($1, 'prompt_formatting', 30)", user)).Number("log_id");
        await db.SetClock("2026-02-01 00:00Z");
        var id = (await db.Json("select credits.reserve_credits($1, 'prompt_formatting', 70, '30 days')", user)).GetProperty("reservation_id").GetGuid();
        await db.SetClock("2026-02-15 00:00Z");
        var result = await db.Json(Rollback, user, "2026-02-15 00:00Z");
        Assert.Equal((100m, 0m, 0m), (result.Number("revoked"), result.Number("restored"), result.Number("balance_after")));
        Assert.Equal(30m, (await db.Json("select credits.refund_credits($1, $2)", user, log)).Number("balance_after"));
        Assert.Equal(100m, (await db.Json("select credits.release_reservation($1, $2)", user, id)).Number("balance_after"));
        await db.SetClock("2026-03-15 00:00Z");
        Assert.Equal(100, await db.Balance(user));
        await db.Run(Send, user);
        Assert.Equal(["grant 100", "usage -30", "hold -70", "grant 100", "revocation -100", "refund 30", "release 70", "expiry -100", "grant 100", "usage -0.5"],
            await db.Ledger(user));
    }

    [Fact]
    public async Task Of_two_periods_with_the_same_number_the_running_one_is_rolled_back()
    {
        await DailyPlan();
        var user = await Open("2026-01-15 00:00Z", "day");
        foreach (var day in new[] { "16", "17" })
        {
            await db.SetClock($"2026-01-{day} 00:00Z");
            await db.Run(Send, user);
        }
        // Day 2 was paid; now months are counted, and month 2 is rolled back.
        await db.Run("select credits.change_plan($1, 'free')", user);
        await db.SetClock("2026-03-16 00:00Z");
        await db.Run(Send, user);
        var result = await db.Json(Rollback, user, "2026-03-15 00:00Z");
        Assert.Equal((99.5m, 0.5m, 0m), (result.Number("revoked"), result.Number("written_off"), result.Number("balance_after")));
    }

    [Fact]
    public async Task A_period_that_was_rolled_back_does_not_spoil_a_later_one()
    {
        var user = await Open("2026-01-15 00:00Z");
        await db.SetClock("2026-02-15 00:00Z");
        await db.Run(Rollback, user, "2026-02-15 00:00Z");
        await db.Run("select credits.change_plan($1, 'paid')", user);
        await db.SetClock("2026-04-20 00:00Z");
        await db.Run("select credits.change_plan($1, 'pro')", user);
        Assert.Equal(5000, await db.Balance(user));

        await DailyPlan();
        user = await Open("2026-01-15 00:00Z", "day");
        await db.SetClock("2026-01-17 00:00Z");
        await db.Run(Rollback, user, "2026-01-17 00:00Z");
        await db.SetClock("2026-01-18 00:00Z");
        await db.Run("select credits.change_plan($1, 'free')", user);
        await db.SetClock("2026-03-15 00:00Z");
        Assert.Equal(100m, (await db.Json(Rollback, user, "2026-03-15 00:00Z")).Number("revoked"));
    }

    [Fact]
    public async Task An_upgrade_in_a_period_that_was_rolled_back_grants_what_it_adds()
    {
        var user = await Open("2026-01-15 00:00Z");
        await db.Run("select credits.deduct_credits_for_action($1, 'weekly_report', 30)", user);
        await db.SetClock("2026-02-15 00:00Z");
        await db.Run(Rollback, user, "2026-02-15 00:00Z");
        Assert.Equal(70, await db.Balance(user));
        var changed = await db.Json("select credits.change_plan($1, 'pro')", user);
        Assert.Equal(4900m, changed.GetProperty("granted").Number("credits"));
        Assert.Equal(4970, await db.Balance(user));
        await db.Run("select credits.change_plan($1, 'free')", user);
        await db.Run("select credits.change_plan($1, 'pro')", user);
        Assert.Equal(4970, await db.Balance(user));
        await db.SetClock("2026-03-15 00:00Z");
        Assert.Equal(5000, await db.Balance(user));
    }

    [Fact]
    public async Task Once_the_plan_renews_nothing_there_is_no_running_reset_to_roll_back()
    {
        var user = await Open("2026-01-15 00:00Z");
        await db.SetClock("2026-02-16 00:00Z");
        await db.Run("select credits.change_plan($1, 'paid')", user);
        await db.SetClock("2026-04-20 00:00Z");
        await db.Run("select credits.add_purchased_credits($1, 1)", user);
        var before = await db.Snapshot(user);
        await db.Fails("UC320", Rollback, user, "2026-02-15 00:00Z");
        Assert.Equal(before, await db.Snapshot(user));
    }

    [Fact]
    public async Task Only_the_running_period_can_be_rolled_back()
    {
        var user = await Open("2026-01-15 00:00Z");
        await db.SetClock("2026-03-16 00:00Z");
        await db.Run(Send, user);
        var before = await db.Snapshot(user);
        foreach (var start in new[] { "2026-01-15 00:00Z", "2026-02-15 00:00Z", "2026-04-15 00:00Z", "2026-03-15 00:00:01Z" })
            Assert.Contains("running_period_start", (await db.Fails("UC320", Rollback, user, start)).Detail, StringComparison.Ordinal);
        Assert.Equal(before, await db.Snapshot(user));
        Assert.Equal("unknown_account", (await db.Json(Rollback, Guid.NewGuid(), "2026-03-15 00:00Z")).Text("code"));
    }

    [Fact]
    public async Task Eight_connections_roll_back_one_reset_while_charges_go_on()
    {
        var user = await Open("2026-01-15 00:00Z");
        await db.SetClock("2026-02-15 00:00Z");
        var outcomes = await db.Race(16, IsolationLevel.RepeatableRead, (c, i) => i % 2 == 0
            ? c.Json(Rollback, user, "2026-02-15 00:00Z")
            : c.Json("select credits.deduct_credits_for_action($1, 'create_agent')", user));
        var rolled = Assert.Single(outcomes.Where((o, i) => i % 2 == 0 && o.Text("code") == "ok"));
        Assert.Equal(100, rolled.Number("restored"));
        Assert.Equal(100m - (40m - rolled.Number("written_off")), await db.Balance(user));
    }

    [Theory]
    [InlineData("p_user_id", "rollback_reset(null, 'credits', now(), 'x')")]
    [InlineData("p_credit_type", "rollback_reset($1, null, now(), 'x')")]
    [InlineData("p_credit_type", "rollback_reset($1, repeat('x', 3000000), now(), 'x')")]
    [InlineData("p_period_start", "rollback_reset($1, 'credits', null, 'x')")]
    [InlineData("p_reason", "rollback_reset($1, 'credits', now(), null)")]
    [InlineData("p_reason", "rollback_reset($1, 'credits', now(), '')")]
    [InlineData("p_limit", "settle_due_wallets(0)")]
    [InlineData("p_limit", "settle_due_wallets(null)")]
    [InlineData("p_limit", "settle_due_wallets(100001)")]
    public async Task Refuses_malformed_arguments_by_name_and_changes_nothing(string argument, string call)
    {
        var user = await Open("2026-01-15 00:00Z");
        await db.Refuses(user, argument, $"select credits.{call}, $1::uuid", user);
    }

    private async Task<Guid> Open(string moment, string plan = "free")
    {
        await db.SetClock(moment);
        var user = Guid.NewGuid();
        await db.Run("select credits.open_account($1, $2)", user, plan);
        return user;
    }

    private async Task DailyPlan()
    {
        await db.Run("insert into credits.plans (plan_id, plan_name) values ('day', 'Day') on conflict do nothing");
        await db.Run("insert into credits.plan_allowances values ('day', 'credits', 10, 'day') on conflict do nothing");
    }
}

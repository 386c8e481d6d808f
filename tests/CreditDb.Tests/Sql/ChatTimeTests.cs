using System.Text.Json;

namespace CreditDb.Tests.Sql;

/// <summary>Chat metered by time, on a stopped clock: 0.25 per 15 seconds after the free time.</summary>
public sealed class ChatTimeTests(TestDatabase db) : IClassFixture<TestDatabase>, IAsyncLifetime
{
    private static readonly DateTimeOffset Start = new(2026, 1, 10, 0, 0, 0, TimeSpan.Zero);

    public async ValueTask InitializeAsync() => await At(0);

    public ValueTask DisposeAsync() => ValueTask.CompletedTask;

    [Fact]
    public async Task Free_time_costs_nothing_and_then_exactly_what_is_added_to_credits_used_leaves_the_wallet()
    {
        var user = await db.Account(10);
        var session = await Open(user, 60);
        await At(600);
        foreach (var (elapsed, used) in new[] { (1, 0m), (60, 0), (74, 0), (75, 0.25m), (89, 0.25m), (90, 0.5m), (180, 2), (190, 2), (195, 2.25m) })
        {
            var report = await Report(user, session, elapsed);
            Assert.Equal(("ok", used), (report.Text("code"), report.Number("credits_used")));
            Assert.Equal((10 - used, Math.Max(60 - elapsed, 0)), (report.Number("balance_after"), report.Number("free_seconds_left")));
            Assert.Equal(10 - used, await db.Balance(user));
        }
        Assert.Equal(["0.25 x 1", "0.25 x 1", "0.25 x 6", "0.25 x 1"], await db.Column<string>(
            "select trim_scale(unit_price) || ' x ' || trim_scale(quantity) from credits.credit_ledger where user_id = $1 and kind = 'usage' and action_type = 'chat_time' and reference_id = $2 order by entry_no", user, session));
    }

    [Fact]
    public async Task A_repeated_a_smaller_or_a_late_report_charges_nothing_and_changes_nothing()
    {
        var user = await db.Account(10);
        var session = await Open(user, 0);
        await At(600);
        Assert.Equal(1, (await Report(user, session, 60)).Number("credits_charged"));
        var before = await db.Snapshot(user);
        foreach (var elapsed in new[] { 60, 45, 0, 60 })
        {
            var report = await Report(user, session, elapsed);
            Assert.Equal((0m, 1m, 60m), (report.Number("credits_charged"), report.Number("credits_used"), report.Number("elapsed_seconds")));
        }
        Assert.Equal(before, await db.Snapshot(user));
    }

    [Theory]
    [InlineData("select credits.release_reservation($1, (select reservation_id from credits.credit_reservations where user_id = $1))", 1)]
    [InlineData("select credits.refund_credits($1, 2)", 0)]
    [InlineData("select credits.import_balance($1, 0, 20)", 15)]
    public async Task What_brings_credits_says_what_is_left_once_the_sessions_are_paid(string operation, int left)
    {
        var user = await db.Account(10);
        await db.Run("select credits.deduct_credits_for_action($1, 'prompt_formatting', 4)", user);
        var session = await Open(user, 0);
        await db.Run("select credits.reserve_credits($1, 'prompt_formatting', 6)", user);
        await At(300);
        Assert.Equal(5m, (await Report(user, session, 300)).Number("credits_owed"));
        Assert.Equal(left, (await db.Json(operation, user)).Number("balance_after"));
        Assert.Equal(left, await db.Balance(user));
    }

    [Fact]
    public async Task A_total_may_be_a_minute_ahead_of_the_clock_and_no_more()
    {
        var user = await db.Account(10);
        var session = await Open(user, 0);
        await At(30);
        var before = await db.Snapshot(user);
        var error = await db.Fails("UC001", "select credits.record_chat_time($1, $2, 91)", user, session);
        Assert.Contains("p_elapsed_seconds", error.MessageText, StringComparison.Ordinal);
        Assert.Equal(before, await db.Snapshot(user));
        Assert.Equal(1.5m, (await Report(user, session, 90)).Number("credits_used"));
    }

    [Fact]
    public async Task Advises_to_continue_to_warn_under_a_minute_and_to_stop_free_time_included()
    {
        var user = await db.Account(1);
        var session = await Open(user, 30);
        await At(600);
        foreach (var (elapsed, advice, left) in new[]
            { (0, "continue", 90), (30, "continue", 60), (31, "warn", 59), (44, "warn", 46), (45, "warn", 45), (89, "warn", 1), (90, "stop", 0), (104, "stop", 0) })
        {
            var report = await Report(user, session, elapsed);
            Assert.Equal(("ok", advice, left), (report.Text("code"), report.Text("advice"), report.Number("seconds_left")));
        }
        var declined = await Report(user, session, 105);
        Assert.Equal(("insufficient_credits", "stop", 0.25m), (declined.Text("code"), declined.Text("advice"), declined.Number("credits_owed")));
        Assert.Equal((60m, 1m), ((await Json("select credits.open_chat_session($1, p_free_seconds => 60)", await db.Account())).Number("seconds_left"), declined.Number("credits_used")));
    }

    [Fact]
    public async Task What_the_balance_covers_is_charged_in_one_entry_and_the_next_grant_of_any_kind_pays_the_rest()
    {
        var user = await db.Account(0.6m);
        var session = await Open(user, 0);
        await At(600);
        var report = await Report(user, session, 100);
        Assert.Equal((0.5m, 1m, 0.1m), (report.Number("credits_used"), report.Number("credits_owed"), report.Number("balance_after")));
        Assert.Equal(1, await db.Charges(user));
        Assert.Equal(1, await Declines(user));
        // Not enough for an interval: it stays.
        await db.Run("select credits.grant_credits($1, 0.1, 'promotional')", user);
        Assert.Equal((0.2m, 1L), (await db.Balance(user), await db.Charges(user)));
        var grant = await Json("select credits.grant_credits($1, 0.7, 'promotional')", user);
        Assert.Equal(grant.Number("log_id"), await db.Value<long>("select max(grant_no) from credits.stored_grants where user_id = $1", user));
        Assert.Equal((0.15m, "1.250000 0.250000 5"), (await db.Balance(user), await Session(user, session)));
        await db.Run("select credits.adjust_credits($1, 1, 'sorry')", user);
        Assert.Equal((0.9m, "1.500000 0.000000 6"), (await db.Balance(user), await Session(user, session)));
        Assert.Equal(0.25m, (await Report(user, session, 105)).Number("credits_charged"));
    }

    [Fact]
    public async Task Older_sessions_are_paid_first_and_what_a_hold_gives_back_pays_too()
    {
        var user = await db.Account(1);
        var hold = await Json("select credits.reserve_credits($1, 'send_email', 2)", user);
        await At(0);
        var older = await Open(user, 0);
        await At(5);
        var newer = await Open(user, 0);
        await At(600);
        await Report(user, newer, 45);
        await Report(user, older, 45);
        Assert.Equal(1.5m, await Owed(user));
        await db.Run("select credits.release_reservation($1, $2)", user, Guid.Parse(hold.Text("reservation_id")));
        Assert.Equal(("0.750000 0.000000 3", "0.250000 0.500000 1", 0m), (await Session(user, older), await Session(user, newer), await db.Balance(user)));
        var charge = await db.Value<long>("select entry_no from credits.credit_ledger where user_id = $1 and reference_id = $2 and kind = 'usage'", user, older);
        // A refund brings credits, and they pay what is still owed.
        await db.Run("select credits.refund_credits($1, $2, 0.5)", user, charge);
        Assert.Equal(("0.750000 0.000000 3", 0m, 0m), (await Session(user, newer), await Owed(user), await db.Balance(user)));
    }

    [Fact]
    public async Task A_renewal_applied_late_pays_at_its_own_moment_and_is_projected_so()
    {
        var user = Guid.NewGuid();
        await db.Run("select credits.open_account($1)", user);
        await db.Run("select credits.adjust_credits($1, -100, 'empty')", user);
        var session = await Open(user, 0);
        await At(600);
        await Report(user, session, 600);
        Assert.Equal(10, await Owed(user));
        await db.SetClock("2026-02-20 00:00Z");
        Assert.Equal(90, await db.Balance(user));
        Assert.True((await Json("select credits.can_perform_action($1, 'send_email', 180)", user)).Flag("can_perform"));
        Assert.False((await Json("select credits.can_perform_action($1, 'send_email', 181)", user)).Flag("can_perform"));
        await db.Run("select credits.deduct_credits_for_action($1, 'send_email')", user);
        Assert.Equal(["grant 2026-02-10", "usage 2026-02-10", "usage 2026-02-20"], await db.Column<string>(
            "select kind || ' ' || (created_at at time zone 'UTC')::date from credits.credit_ledger where user_id = $1 and credit_type = 'credits' order by entry_no offset 2", user));
    }

    [Fact]
    public async Task Without_an_account_the_time_is_recorded_and_the_account_pays_when_it_is_opened()
    {
        var user = Guid.NewGuid();
        var session = await Open(user, null);
        await At(600);
        var report = await Report(user, session, 95);
        Assert.Equal(("unknown_account", "stop", 95m, ""), (report.Text("code"), report.Text("advice"), report.Number("elapsed_seconds"), report.Text("rate")));
        Assert.Equal(1, await Declines(user));
        await db.Run("select credits.open_account($1)", user);
        Assert.Equal(("1.500000 0.000000 6", 98.5m), (await Session(user, session), await db.Balance(user)));
        Assert.Equal(0.25m, (await Report(user, session, 105)).Number("credits_charged"));
    }

    [Fact]
    public async Task A_suspended_account_owes_until_it_is_active_again()
    {
        var user = await db.Account(10);
        var session = await Open(user, 0);
        await At(600);
        await db.Run("update credits.accounts set status = 'suspended' where user_id = $1", user);
        var report = await Report(user, session, 30);
        Assert.Equal(("account_suspended", "stop", 0.5m, 0m), (report.Text("code"), report.Text("advice"), report.Number("credits_owed"), report.Number("credits_used")));
        Assert.Equal(1, await Declines(user));
        await db.Run("select credits.add_purchased_credits($1, 1)", user);
        Assert.Equal((11m, 0.5m), (await db.Balance(user), await Owed(user)));
        await db.Run("update credits.accounts set status = 'active' where user_id = $1", user);
        Assert.Equal(0.75m, (await Report(user, session, 45)).Number("credits_charged"));
    }

    [Fact]
    public async Task An_account_that_is_active_again_pays_at_once_what_it_owes()
    {
        var user = await db.Account(10);
        var session = await Open(user, 0);
        await At(600);
        await db.Run("select credits.suspend_account($1)", user);
        Assert.Equal(0.5m, (await Report(user, session, 30)).Number("credits_owed"));
        await db.Run("select credits.reactivate_account($1)", user);
        Assert.Equal((9.5m, 0m), (await db.Balance(user), await Owed(user)));
    }

    [Theory]
    [InlineData("select credits.refund_credits($1, (select max(entry_no) from credits.credit_ledger where user_id = $1 and credit_type = 'credits' and kind = 'usage'))")]
    [InlineData("select credits.release_reservation($1, (select reservation_id from credits.credit_reservations where user_id = $1))")]
    [InlineData("select credits.import_balance($1, 0, 5)")]
    [InlineData("select credits.grant_credits($1, 5, 'trial')")]
    public async Task Whatever_brings_credits_says_the_balance_after_what_is_owed_is_paid_from_them(string sql)
    {
        var user = await db.Account(10);
        var purchase = (await db.Json("select credits.create_purchase($1, 'starter', 'stripe')", user)).GetProperty("purchase_id").GetGuid();
        await db.Run("select credits.complete_purchase($1, $2, 'payment' || $1), credits.refund_purchase($1, $2, p_provider_reference => 'dispute', p_is_dispute => true)", user, purchase);
        await db.Run("select credits.reserve_credits($1, 'create_agent')", user);
        await db.Run("select credits.deduct_credits_for_action($1, 'create_agent')", user);
        var session = await Open(user, 0);
        await At(600);
        Assert.Equal(("insufficient_credits", 1m), await Report(user, session, 60) is var report ? (report.Text("code"), report.Number("credits_owed")) : default);
        Assert.Equal(await db.Json(sql, user) is var outcome ? outcome.Number("balance_after") : -1,
            await db.Value<decimal>("select balance from credits.wallets where user_id = $1 and credit_type = 'credits'", user));
        Assert.Equal(0, await Owed(user));
    }

    [Theory]
    [InlineData("select credits.set_cost('chat_time', p_is_active => false)", "select credits.set_cost('chat_time', p_is_active => true)", "inactive_action")]
    [InlineData("create table public.kept as select * from credits.credit_costs where action_type = 'chat_time'; delete from credits.credit_costs where action_type = 'chat_time'",
        "insert into credits.credit_costs select * from public.kept; drop table public.kept", "unknown_action")]
    public async Task Without_a_price_that_is_active_the_time_is_recorded_and_charged_once_there_is_one(string off, string on, string code)
    {
        var user = await db.Account(10);
        var open = await Open(user, 0);
        await db.Run(off);
        var late = await Open(user, 0);
        await At(600);
        foreach (var session in new[] { open, late })
        {
            var report = await Report(user, session, 60);
            Assert.Equal((code, "stop", 60m, 0m), (report.Text("code"), report.Text("advice"), report.Number("elapsed_seconds"), report.Number("credits_used")));
            Assert.Equal(session == open ? 1 : 0, report.Number("credits_owed"));
        }
        Assert.Equal((2, 10m), (await Declines(user), await db.Balance(user)));
        await db.Run("select credits.add_purchased_credits($1, 1)", user);
        Assert.Equal(11, await db.Balance(user));
        await db.Run(on);
        await db.Run("select credits.add_purchased_credits($1, 1)", user);
        Assert.Equal((11m, 0m), (await db.Balance(user), await Owed(user)));
        Assert.Equal(1.25m, (await Report(user, late, 75)).Number("credits_charged"));
    }

    [Fact]
    public async Task The_rate_is_pinned_at_the_start_with_what_the_plan_says_of_it()
    {
        await db.Run("insert into credits.plans (plan_id, plan_name, free_chat_seconds) values ('chatty', 'Chatty', 20), ('endless', 'Endless', 0)");
        await db.Run("insert into credits.plan_features (plan_id, action_type, cost_per_unit) values ('chatty', 'chat_time', 0.1)");
        await db.Run("insert into credits.plan_features (plan_id, action_type, is_unlimited) values ('endless', 'chat_time', true)");
        var user = await db.Account(10);
        var old = await Open(user, null);
        await db.Run("select credits.change_plan($1, 'chatty')", user);
        var chatty = await Open(user, null);
        await db.Run("select credits.set_cost('chat_time', 3)");
        await db.Run("select credits.change_plan($1, 'endless')", user);
        var endless = await Open(user, null);
        await db.Run("select credits.set_cost('chat_time', 0.25)");
        await At(600);
        Assert.Equal(0.25m, (await Report(user, old, 15)).Number("credits_charged"));
        Assert.Equal(0.1m, (await Report(user, chatty, 35)).Number("credits_charged"));
        var report = await Report(user, endless, 600);
        Assert.Equal(("ok", "continue", "", 0m), (report.Text("code"), report.Text("advice"), report.Text("seconds_left"), report.Number("credits_charged")));
        Assert.Equal("0.000000 40.000000", await db.Value<string>(
            "select amount || ' ' || quantity from credits.credit_ledger where user_id = $1 and reference_id = $2", user, endless));
        Assert.Equal(9.65m, await db.Balance(user));
    }

    [Fact]
    public async Task A_plans_limit_holds_for_chat_time_and_the_rest_is_paid_in_the_next_period()
    {
        await db.Run("insert into credits.plans (plan_id, plan_name) values ('brief', 'Brief')");
        await db.Run("insert into credits.plan_features (plan_id, action_type, limit_quantity, limit_period) values ('brief', 'chat_time', 4, 'month')");
        var user = Guid.NewGuid();
        await db.Run("select credits.open_account($1, 'brief')", user);
        await db.Run("select credits.add_purchased_credits($1, 10)", user);
        var session = await Open(user, 0);
        await At(600);
        Assert.Equal(60, (await Report(user, session, 0)).Number("seconds_left"));
        var report = await Report(user, session, 150);
        Assert.Equal(("limit_reached", "stop", 1m, 1.5m), (report.Text("code"), report.Text("advice"), report.Number("credits_used"), report.Number("credits_owed")));
        await db.SetClock("2026-02-20 00:00Z");
        await db.Run("select credits.add_purchased_credits($1, 1)", user);
        Assert.Equal(("2.000000 0.500000 8", 9m), (await Session(user, session), await db.Balance(user)));
    }

    [Fact]
    public async Task Opening_again_leaves_the_session_as_it_is()
    {
        var user = await db.Account(1);
        var first = await Json("select credits.open_chat_session($1, p_free_seconds => 30)", user);
        Assert.True(first.Flag("opened"));
        var session = Guid.Parse(first.Text("session_id"));
        var before = await db.Snapshot(user);
        await At(100);
        var again = await Json("select credits.open_chat_session($1, $2, 99)", user, session);
        Assert.Equal((false, true, 30m), (again.Flag("opened"), again.Flag("success"), again.Number("free_seconds")));
        Assert.Equal(before, await db.Snapshot(user));
        Assert.NotEqual(session, await Open(user, null));
    }

    [Fact]
    public async Task Opening_again_tells_what_there_is_after_what_is_due()
    {
        var (user, session) = (Guid.NewGuid(), Guid.NewGuid());
        await db.Run("select credits.open_account($1)", user);
        await Json("select credits.open_chat_session($1, $2)", user, session);
        await db.Run("select credits.adjust_credits($1, -100, 'empty')", user);
        await db.SetClock("2026-02-20 00:00Z");
        var again = await Json("select credits.open_chat_session($1, $2)", user, session);
        Assert.Equal((false, 100m, 6000m), (again.Flag("opened"), again.Number("available"), again.Number("seconds_left")));
    }

    [Theory]
    [InlineData("select credits.release_reservation($1, $2)")]
    [InlineData("select credits.refund_credits($1, 3)")]
    public async Task What_comes_back_pays_what_is_owed_and_the_balance_told_is_the_one_after_that(string sql)
    {
        var user = await db.Account(2);
        var hold = Guid.Parse((await Json("select credits.reserve_credits($1, 'send_email', 2)", user)).Text("reservation_id"));
        await db.Run("select credits.deduct_credits_for_action($1, 'send_email', 2)", user);
        var session = await Open(user, 0);
        await At(600);
        await Report(user, session, 30);
        var outcome = await Json($"{sql} where $2::uuid is not null", user, hold);
        Assert.Equal((0.5m, 0.5m), (outcome.Number("balance_after"), await db.Balance(user)));
    }

    [Theory]
    [InlineData("select credits.open_chat_session(null)", "p_user_id")]
    [InlineData("select credits.open_chat_session($1, null, -1)", "p_free_seconds")]
    [InlineData("select credits.open_chat_session($1, null, 86401)", "p_free_seconds")]
    [InlineData("select credits.record_chat_time(null, $2, 1)", "p_user_id")]
    [InlineData("select credits.record_chat_time($1, null, 1)", "p_session_id")]
    [InlineData("select credits.record_chat_time($1, $2, null)", "p_elapsed_seconds")]
    [InlineData("select credits.record_chat_time($1, $2, -1)", "p_elapsed_seconds")]
    [InlineData("select credits.record_chat_time($1, $2, 2147483647)", "p_elapsed_seconds")]
    public async Task Bad_arguments_are_named_and_change_nothing(string sql, string argument)
    {
        var user = await db.Account(1);
        var session = await Open(user, 0);
        var before = await db.Snapshot(user);
        sql = sql.Replace("$1", $"'{user}'", StringComparison.Ordinal).Replace("$2", $"'{session}'", StringComparison.Ordinal);
        Assert.Contains($"\"{argument}\"", (await db.Fails("UC001", sql)).Detail, StringComparison.Ordinal);
        Assert.Equal(before, await db.Snapshot(user));
    }

    [Fact]
    public async Task A_session_that_was_never_opened_or_is_another_users_is_not_found()
    {
        var (user, other) = (await db.Account(1), await db.Account(1));
        var session = await Open(user, 0);
        Assert.Equal("not_found", (await Report(other, session, 1)).Text("code"));
        Assert.Equal("not_found", (await Report(user, Guid.NewGuid(), 1)).Text("code"));
    }

    [Fact]
    public async Task Somebody_elses_charge_that_refers_to_the_session_is_no_damage()
    {
        var user = await db.Account(1);
        var session = await Open(user, 0);
        await db.Run("select credits.deduct_credits_for_action($1, 'chat_time', 1, $2)", user, session);
        Assert.Empty(await db.Column<string>("select problem from credits.verify_ledger($1)", user));
    }

    private Task At(int seconds) => db.SetClock(Start.AddSeconds(seconds).ToString("o"));

    private async Task<Guid> Open(Guid user, int? freeSeconds) =>
        Guid.Parse((await db.Json("select credits.open_chat_session($1, null, $2)", user, freeSeconds)).Text("session_id"));

    private Task<JsonElement> Report(Guid user, Guid session, int elapsed) => db.Json("select credits.record_chat_time($1, $2, $3)", user, session, elapsed);

    private Task<JsonElement> Json(string sql, params object?[] arguments) => db.Json(sql, arguments);

    private Task<string> Session(Guid user, Guid session) => db.Value<string>(
        "select concat_ws(' ', credits_used, credits_owed, charged_intervals) from credits.chat_sessions where user_id = $1 and session_id = $2", user, session);

    private Task<decimal> Owed(Guid user) => db.Value<decimal>("select owed from credits.wallets where user_id = $1 and credit_type = 'credits'", user);

    private Task<int> Declines(Guid user) => db.Value<int>(
        "select coalesce(sum(repeats), 0)::integer from credits.notifications where user_id = $1 and type = 'deduction_failed' and action_type = 'chat_time'", user);
}

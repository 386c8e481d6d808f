using System.Data;

namespace CreditDb.Tests.Sql;

/// <summary>What a plan says of an action (limit, price, unlimited) and of an allowance, and moving from plan to plan.</summary>
public sealed class PlanTests(TestDatabase db) : IClassFixture<TestDatabase>
{
    private const int Racers = 8;
    private const string Script = "select credits.deduct_credits_for_action($1, 'script_generation')";
    private const string ChangePlan = "select credits.change_plan($1, $2)";
    private const string Message = "select credits.deduct_chat_message($1)";

    public static TheoryData<IsolationLevel> Levels => Racing.Levels;

    [Fact]
    public async Task The_free_plan_makes_three_scripts_a_month_and_three_more_the_next()
    {
        await db.SetClock("2026-01-31 00:00Z");
        var user = await Open("free");
        for (var i = 0; i < 3; i++)
            Assert.Equal("ok", (await db.Json(Script, user)).Text("code"));
        var declined = await db.Json(Script, user);
        Assert.Equal(("limit_reached", 3m, 3m, "month"), (declined.Text("code"), declined.Number("limit"), declined.Number("used"), declined.Text("limit_period")));
        var check = await db.Json("select credits.can_perform_action($1, 'script_generation')", user);
        Assert.Equal((false, "limit_reached", 3m, 3m, "free"), (check.Flag("can_perform"), check.Text("code"), check.Number("limit"), check.Number("limit_used"), check.Text("account_level")));
        Assert.NotEqual("", check.Text("reason"));
        await db.SetClock("2026-02-27 23:59:59Z");
        Assert.Equal("limit_reached", (await db.Json(Script, user)).Text("code"));
        await db.SetClock("2026-02-28 00:00Z");
        Assert.True((await db.Json("select credits.can_perform_action($1, 'script_generation', 3)", user)).Flag("can_perform"));
        Assert.Equal("limit_reached", (await db.Json("select credits.deduct_credits_for_action($1, 'script_generation', 4)", user)).Text("code"));
        Assert.Equal("ok", (await db.Json("select credits.deduct_credits_for_action($1, 'script_generation', 3)", user)).Text("code"));
        Assert.Equal(["0: 3.000000", "1: 3.000000"], await Counters(user));
    }

    [Fact]
    public async Task Nothing_is_counted_where_there_is_no_limit()
    {
        var user = await Open("free");
        await db.Run("select credits.deduct_credits_for_action($1, 'send_email')", user);
        Assert.Empty(await Counters(user));
    }

    [Fact]
    public async Task Holds_count_against_the_limit_and_give_back()
    {
        await db.SetClock("2026-01-10 00:00Z");
        var user = await Open("free");
        const string Reserve = "select credits.reserve_credits($1, 'script_generation', 2, '1 hour')";
        var id = (await db.Json(Reserve, user)).GetProperty("reservation_id").GetGuid();
        var declined = await db.Json(Reserve, user);
        Assert.Equal(("limit_reached", 3m, 2m, "month"), (declined.Text("code"), declined.Number("limit"), declined.Number("used"), declined.Text("limit_period")));
        // More than was held, within the limit, and beyond it.
        Assert.Equal("limit_reached", (await db.Json("select credits.commit_reservation($1, $2, 4)", user, id)).Text("code"));
        Assert.Equal("ok", (await db.Json("select credits.commit_reservation($1, $2, 1)", user, id)).Text("code"));
        Assert.Equal(["0: 1.000000"], await Counters(user));
        id = (await db.Json(Reserve, user)).GetProperty("reservation_id").GetGuid();
        Assert.Equal("limit_reached", (await db.Json(Script, user)).Text("code"));
        await db.Run("select credits.release_reservation($1, $2)", user, id);
        Assert.Equal(["0: 1.000000"], await Counters(user));
        id = (await db.Json(Reserve, user)).GetProperty("reservation_id").GetGuid();
        await db.SetClock("2026-01-10 01:00Z");
        Assert.Equal("ok", (await db.Json(Script, user)).Text("code"));
        // The lapsed hold's commit is a charge like any other.
        Assert.Equal("limit_reached", (await db.Json("select credits.commit_reservation($1, $2)", user, id)).Text("code"));
        Assert.Equal("ok", (await db.Json("select credits.commit_reservation($1, $2, 1)", user, id)).Text("code"));
        Assert.Equal(["0: 3.000000"], await Counters(user));
    }

    [Fact]
    public async Task A_lapsed_hold_does_not_count_against_the_limit_whether_applied_or_not()
    {
        await db.SetClock("2026-01-10 00:00Z");
        var user = await Open("free");
        await db.Run("select credits.reserve_credits($1, 'voice_creation', 1, '15 minutes')", user);
        await db.SetClock("2026-01-10 00:14:59Z");
        Assert.Equal("limit_reached", (await db.Json("select credits.can_perform_action($1, 'voice_creation')", user)).Text("code"));
        await db.SetClock("2026-01-10 00:15Z");
        var check = await db.Json("select credits.can_perform_action($1, 'voice_creation')", user);
        Assert.Equal((true, 0m), (check.Flag("can_perform"), check.Number("limit_used")));
        Assert.Equal("ok", (await db.Json("select credits.deduct_credits_for_action($1, 'voice_creation')", user)).Text("code"));
        Assert.Equal("limit_reached", (await db.Json("select credits.can_perform_action($1, 'voice_creation')", user)).Text("code"));
    }

    [Fact]
    public async Task A_hold_that_crosses_the_period_counts_where_it_is_committed()
    {
        await db.SetClock("2026-01-10 00:00Z");
        var user = await Open("free");
        var id = (await db.Json("select credits.reserve_credits($1, 'script_generation', 2, '20 days')", user)).GetProperty("reservation_id").GetGuid();
        await db.SetClock("2026-01-25 00:00Z");
        await db.Run("select credits.extend_reservation($1, $2, '25 days')", user, id);
        await db.SetClock("2026-02-10 00:00Z");
        await db.Run("select credits.commit_reservation($1, $2)", user, id);
        Assert.Equal(["0: 0.000000", "1: 2.000000"], await Counters(user));
    }

    [Fact]
    public async Task Rows_of_one_statement_are_charged_up_to_the_limit_and_the_rest_is_listed()
    {
        await Scripts();
        var user = await Open("free");
        await db.Run("insert into public.scripts (user_id) select $1 from generate_series(1, 5)", user);
        Assert.Equal((3L, 97m), (await db.Charges(user), await db.Balance(user)));
        Assert.Equal(["limit_reached", "limit_reached"], await db.Column<string>("select code from credits.uncharged_rows where user_id = $1", user));
        Assert.Equal(1, await db.Value<long>("select count(*) from credits.notifications where user_id = $1 and repeats = 1", user));
        await db.Run("insert into public.scripts (user_id) values ($1)", user);
        Assert.Equal(["0: 3.000000"], await Counters(user));
        await db.Run(ChangePlan, user, "pro");
        Assert.Equal(3m, (await db.Json("select credits.charge_uncharged($1)", user)).Number("rows_charged"));
        Assert.Equal(["0: 6.000000"], await Counters(user));
    }

    [Fact]
    public async Task Under_the_policy_reject_a_statement_over_the_limit_fails_whole()
    {
        await Scripts();
        var user = await Open("free");
        await db.Run("update credits.credit_costs set on_insufficient = 'reject' where action_type = 'script_generation'");
        var before = await db.Snapshot(user);
        var error = await db.Fails("UC102", "insert into public.scripts (user_id) select $1 from generate_series(1, 4)", user);
        Assert.Contains("limit_reached", error.Detail, StringComparison.Ordinal);
        Assert.Equal(before, await db.Snapshot(user));
        await db.Run("update credits.credit_costs set on_insufficient = 'notify' where action_type = 'script_generation'");
    }

    [Theory]
    [MemberData(nameof(Levels))]
    public async Task Charges_holds_and_rows_race_for_a_limit(IsolationLevel level)
    {
        await Scripts();
        var user = await Open("free");
        await db.Race(Racers * 3, level, async (c, i) =>
        {
            await c.Run((i % 3) switch
            {
                0 => Script,
                1 => "select credits.reserve_credits($1, 'script_generation')",
                _ => "insert into public.scripts (user_id) values ($1)",
            }, user);
            return default;
        });
        Assert.Equal(["0: 3.000000"], await Counters(user));
        Assert.Equal(97, await db.Balance(user));
    }

    [Fact]
    public async Task A_plan_has_prices_of_its_own_and_of_zero_too()
    {
        await Plan("cheap", "insert into credits.plan_features (plan_id, action_type, cost_per_unit) values ('cheap', 'weekly_report', 0.4), ('cheap', 'brag_doc', 0)");
        var (user, other) = (await Open("cheap"), await db.Account(10));
        await db.Run("select credits.add_purchased_credits($1, 10)", user);
        Assert.Equal(0.8m, (await db.Json("select credits.can_perform_action($1, 'weekly_report', 2)", user)).Number("credits_needed"));
        Assert.Equal(0.8m, (await db.Json("select credits.deduct_credits_for_action($1, 'weekly_report', 2)", user)).Number("credits_deducted"));
        Assert.Equal(0m, (await db.Json("select credits.deduct_credits_for_action($1, 'brag_doc')", user)).Number("credits_deducted"));
        Assert.Equal(0.4m, (await db.Json("select credits.reserve_credits($1, 'weekly_report')", user)).Number("credits_held"));
        Assert.Equal(1m, (await db.Json("select credits.deduct_credits_for_action($1, 'weekly_report')", other)).Number("credits_deducted"));
        Assert.Equal((8.8m, 9m), (await db.Balance(user), await db.Balance(other)));
    }

    [Fact]
    public async Task The_free_plan_has_twenty_chat_messages_and_a_decline_says_none_remain()
    {
        var user = await Open("free");
        for (var left = 19; left >= 0; left--)
            Assert.Equal((true, (decimal)left), Of(await db.Json(Message, user)));
        var declined = await db.Json(Message, user);
        Assert.Equal((false, 0m, "insufficient_credits"), (declined.Flag("success"), declined.Number("remaining"), declined.Text("code")));
        Assert.Equal(100, await db.Balance(user));

        static (bool, decimal) Of(System.Text.Json.JsonElement e) => (e.Flag("success"), e.Number("remaining"));
    }

    [Fact]
    public async Task What_remains_is_what_can_be_sent_whatever_the_wallet_owes()
    {
        await db.Run("insert into credits.credit_costs (action_type, action_name, cost_per_unit, unit_description, credit_type, on_insufficient) "
            + "values ('attachment', 'Attachment', 25, 'per attachment', 'chat_messages', 'debt')");
        await db.Run("create table public.attachments (id uuid primary key default gen_random_uuid(), user_id uuid not null)");
        await db.Run("select credits.attach_charge('public.attachments', 'attachment')");
        await Plan("owing", "insert into credits.plan_allowances values ('owing', 'chat_messages', 20, 'once')");
        await db.Run("update credits.plans set debt_limit = 10 where plan_id = 'owing'");
        var user = await Open("owing");
        var sent = (await db.Json(Message, user)).Number("log_id");
        await db.Run("insert into public.attachments (user_id) values ($1)", user);
        await db.Run("select credits.refund_credits($1, $2, p_credit_type => 'chat_messages')", user, (long)sent);
        var message = await db.Json(Message, user);
        Assert.Equal((true, 0m, -6m), (message.Flag("success"), message.Number("remaining"), message.Number("balance_after")));
        Assert.Equal(0m, (await db.Json(Message, user)).Number("remaining"));
        Assert.Equal(0m, (await db.Json(Message, Guid.NewGuid())).Number("remaining"));
    }

    [Fact]
    public async Task A_message_with_a_key_is_charged_once()
    {
        var user = await Open("free");
        for (var i = 0; i < 3; i++)
            Assert.Equal(19m, (await db.Json("select credits.deduct_chat_message($1, 'm1')", user)).Number("remaining"));
    }

    [Fact]
    public async Task Messages_race_for_the_twenty()
    {
        var user = await Open("free");
        var outcomes = await db.Race(30, IsolationLevel.ReadCommitted, (c, _) => c.Json(Message, user));
        Assert.Equal(20, outcomes.Count(o => o.Flag("success")));
        Assert.Equal(Enumerable.Range(0, 20).Select(n => (decimal)n), outcomes.Where(o => o.Flag("success")).Select(o => o.Number("remaining")).Order());
    }

    [Theory]
    [InlineData("pro")]
    [InlineData("paid")]
    [InlineData("demo")]
    public async Task Unlimited_messages_are_logged_at_cost_zero_and_remaining_is_null(string plan)
    {
        var user = await Open(plan);
        for (var i = 0; i < 25; i++)
        {
            var sent = await db.Json(Message, user);
            Assert.Equal((true, System.Text.Json.JsonValueKind.Null), (sent.Flag("success"), sent.GetProperty("remaining").ValueKind));
        }
        Assert.Equal(25, await db.Value<long>("select count(*) from credits.credit_usage_logs where user_id = $1 and action_type = 'chat_message' and amount_used = 0", user));
        var check = await db.Json("select credits.can_perform_action($1, 'chat_message', 1000)", user);
        Assert.Equal((true, System.Text.Json.JsonValueKind.Null, 0m), (check.Flag("can_perform"), check.GetProperty("credits_remaining").ValueKind, check.Number("credits_needed")));
        Assert.Empty(await db.Told(user));
    }

    [Fact]
    public async Task Nobody_can_send_no_message()
    {
        Assert.Equal("unknown_account", (await db.Json(Message, Guid.NewGuid())).Text("code"));
        var user = await Open("free");
        await db.Refuses(user, "p_user_id", "select credits.deduct_chat_message(null)");
        await db.Refuses(user, "p_idempotency_key", "select credits.deduct_chat_message($1, '')", user);
    }

    [Fact]
    public async Task An_upgrade_adds_the_difference_at_once_and_up_and_down_gains_nothing()
    {
        await db.SetClock("2026-01-31 00:00Z");
        var user = await Open("free");
        await db.Run("select credits.deduct_credits_for_action($1, 'create_agent', 4)", user);
        await db.SetClock("2026-02-10 00:00Z");
        var up = await db.Json(ChangePlan, user, "pro");
        Assert.Equal(("ok", "pro", "free", 4900m), (up.Text("code"), up.Text("plan_id"), up.Text("previous_plan_id"), up.GetProperty("granted").Number("credits")));
        Assert.Equal(4980, await db.Balance(user));
        for (var i = 0; i < 4; i++)
        {
            await db.Run(ChangePlan, user, "free");
            await db.Run(ChangePlan, user, "paid");
            await db.Run(ChangePlan, user, "pro");
        }
        Assert.Equal((4980m, 20m), (await db.Balance(user), await db.Balance(user, "chat_messages")));
        // Down: what is there stays until the reset.
        await db.Run(ChangePlan, user, "free");
        await db.SetClock("2026-02-27 23:59Z");
        Assert.Equal(4980, await db.Balance(user));
        await db.SetClock("2026-02-28 00:00Z");
        Assert.Equal(100, await db.Balance(user));
        await db.Run(ChangePlan, user, "pro");
        Assert.Equal(5000, await db.Balance(user));
        await db.SetClock("2026-03-31 00:00Z");
        Assert.Equal(5000, await db.Balance(user));
        Assert.Equal("", (await db.Json(ChangePlan, user, "pro")).GetProperty("granted").ToString().Trim('{', '}'));
    }

    [Fact]
    public async Task Moving_an_account_to_its_own_plan_brings_what_was_added_to_the_plan_once()
    {
        await db.Run("insert into credits.plans (plan_id, plan_name) values ('growing', 'Growing')");
        var user = Guid.NewGuid();
        await db.Run("select credits.open_account($1, 'growing')", user);
        var again = await db.Json("select credits.change_plan($1, 'growing')", user);
        Assert.Equal("{}", again.GetProperty("granted").ToString());
        await db.Run("insert into credits.plan_allowances (plan_id, credit_type, amount, period) values ('growing', 'credits', 40, 'month')");
        foreach (var granted in new[] { 40m, 0m })
        {
            var moved = (await db.Json("select credits.change_plan($1, 'growing')", user)).GetProperty("granted");
            Assert.Equal(granted, moved.TryGetProperty("credits", out var amount) ? amount.GetDecimal() : 0);
        }
        await db.Run("update credits.plan_allowances set amount = 50 where plan_id = 'growing'");
        Assert.Equal(10m, (await db.Json("select credits.change_plan($1, 'growing')", user)).GetProperty("granted").Number("credits"));
        Assert.Equal(50, await db.Balance(user));
    }

    [Fact]
    public async Task What_was_due_on_the_old_plan_is_applied_before_the_change()
    {
        await db.SetClock("2026-01-31 00:00Z");
        var user = await Open("pro");
        await db.SetClock("2026-03-05 00:00Z");
        await db.Run(ChangePlan, user, "free");
        Assert.Equal(5000, await db.Balance(user));
        await db.SetClock("2026-03-31 00:00Z");
        Assert.Equal(100, await db.Balance(user));
    }

    [Fact]
    public async Task A_plan_taken_later_says_when_its_period_began_and_that_grant_can_be_rolled_back()
    {
        await db.SetClock("2026-01-31 00:00Z");
        var user = await Open("paid");
        await db.SetClock("2026-03-10 00:00Z");
        await db.Run(ChangePlan, user, "pro");
        var balance = await db.Json("select credits.get_credit_balance($1)", user);
        Assert.Equal((5000m, "2026-03-31"), (balance.Number("monthly"), balance.Text("next_monthly_reset")[..10]));
        Assert.StartsWith("2026-02-28", balance.Text("last_monthly_reset"), StringComparison.Ordinal);
        Assert.Equal(5000m, (await db.Json("select credits.rollback_reset($1, 'credits', '2026-02-28 00:00Z', 'mistake')", user)).Number("revoked"));
        await db.SetClock("2026-03-31 00:00Z");
        Assert.Equal(5000, await db.Balance(user));
    }

    [Fact]
    public async Task From_day_to_month_and_back_pays_no_more_than_both()
    {
        await Plan("daily", "insert into credits.plan_allowances values ('daily', 'credits', 10, 'day')");
        await db.SetClock("2026-01-10 00:00Z");
        var user = await Open("daily");
        await db.SetClock("2026-01-12 06:00Z");
        await db.Run(ChangePlan, user, "free");
        Assert.Equal(100, await db.Balance(user));
        for (var i = 0; i < 3; i++)
        {
            await db.Run(ChangePlan, user, "daily");
            await db.Run(ChangePlan, user, "free");
        }
        Assert.Equal(100, await db.Balance(user));
        await db.SetClock("2026-02-10 00:00Z");
        Assert.Equal(100, await db.Balance(user));
    }

    [Theory]
    [MemberData(nameof(Levels))]
    public async Task Plan_changes_race_with_charges_and_nothing_is_gained_or_lost(IsolationLevel level)
    {
        await db.SetClock("2026-01-31 00:00Z");
        var user = await Open("free");
        var outcomes = await db.Race(Racers * 2, level, (c, i) => i % 2 == 0
            ? c.Json(ChangePlan, user, i % 4 == 0 ? "pro" : "free")
            : c.Json("select credits.deduct_credits_for_action($1, 'prompt_generation', 2)", user));
        Assert.All(outcomes, o => Assert.Equal("ok", o.Text("code")));
        Assert.Equal(5000 - (4 * Racers), await db.Balance(user));
        Assert.Equal(5000m, await db.Value<decimal>("select sum(amount) from credits.stored_grants where user_id = $1 and source = 'monthly'", user));
    }

    [Fact]
    public async Task A_limit_of_the_new_plan_holds_for_a_charge_that_waited_for_the_change()
    {
        var user = await Open("pro");
        for (var i = 0; i < 3; i++)
            await db.Run(Script, user);
        await using var changing = await db.Source.OpenConnectionAsync(TestContext.Current.CancellationToken);
        await changing.Run("begin");
        await changing.Run(ChangePlan, user, "free");
        var waiting = db.Json(Script, user);
        await Eventually.TrueAsync(async () => await db.Value<long>("select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'") == 1, "nobody waits");
        await changing.Run("commit");
        Assert.Equal("limit_reached", (await waiting).Text("code"));
    }

    [Fact]
    public async Task A_change_of_plan_for_nobody_or_to_nothing_changes_nothing()
    {
        Assert.Equal("unknown_account", (await db.Json(ChangePlan, Guid.NewGuid(), "pro")).Text("code"));
        var user = await Open("free");
        await db.Refuses(user, "p_user_id", "select credits.change_plan(null, 'pro')");
        await db.Refuses(user, "p_plan_id", ChangePlan, user, "no such plan");
        await db.Refuses(user, "p_plan_id", "select credits.change_plan($1, null)", user);
    }

    [Theory]
    [InlineData("p_user_id", "can_perform_action(null, 'send_email')")]
    [InlineData("p_action_type", "can_perform_action($1, null)")]
    [InlineData("p_action_type", "can_perform_action($1, '')")]
    [InlineData("p_quantity", "can_perform_action($1, 'send_email', 0)")]
    [InlineData("p_quantity", "can_perform_action($1, 'send_email', 'NaN')")]
    [InlineData("p_quantity", "can_perform_action($1, 'create_agent', 1000000000)")]
    public async Task A_malformed_check_is_refused_by_name(string argument, string call) =>
        await db.Refuses(await Open("free"), argument, $"select credits.{call}, $1::uuid", await Open("free"));

    [Fact]
    public async Task A_check_says_what_is_missing()
    {
        var user = await db.Account(3);
        var check = await db.Json("select credits.can_perform_action($1, 'create_agent', 2)", user);
        Assert.Equal((false, 10m, 3m, 7m, "paid"), (check.Flag("can_perform"), check.Number("credits_needed"), check.Number("credits_remaining"), check.Number("credits_missing"), check.Text("account_level")));
        Assert.Equal("unknown_action", (await db.Json("select credits.can_perform_action($1, 'nothing')", user)).Text("code"));
        Assert.Equal("unknown_account", (await db.Json("select credits.can_perform_action($1, 'send_email')", Guid.NewGuid())).Text("code"));
    }

    private async Task<Guid> Open(string plan)
    {
        var user = Guid.NewGuid();
        await db.Run("select credits.open_account($1, $2)", user, plan);
        return user;
    }

    private async Task Plan(string plan, string terms)
    {
        await db.Run("insert into credits.plans (plan_id, plan_name) values ($1, $1)", plan);
        await db.Run(terms);
    }

    private async Task Scripts()
    {
        await db.Run("create table if not exists public.scripts (id uuid primary key default gen_random_uuid(), user_id uuid not null)");
        await db.Run("select credits.attach_charge('public.scripts', 'script_generation')");
    }

    private Task<List<string>> Counters(Guid user) =>
        db.Column<string>("select period_no || ': ' || used from credits.usage_counters where user_id = $1 order by 1", user);
}

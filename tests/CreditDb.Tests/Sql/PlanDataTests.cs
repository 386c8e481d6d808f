using System.Data;
using System.Text.Json;
using Npgsql;

namespace CreditDb.Tests.Sql;

/// <summary>Writing plans by set_plan, set_allowance and set_feature, and when what they say takes effect.</summary>
public sealed class PlanDataTests(TestDatabase db) : IClassFixture<TestDatabase>
{
    private const int Racers = 8;
    private const string Charge = "select credits.deduct_credits_for_action($1, $2)";
    private const string ChangePlan = "select credits.change_plan($1, $2)";
    private const string SetAllowance = "select credits.set_allowance($1, 'credits', $2::numeric, $3)";

    private readonly string _plan = "plan_" + Guid.NewGuid().ToString("N");
    private readonly string _action = "test_" + Guid.NewGuid().ToString("N");

    public static TheoryData<IsolationLevel> Levels => Racing.Levels;

    public static TheoryData<string, string> Malformed => new()
    {
        { "p_plan_id", "set_plan(null, 'x')" },
        { "p_plan_id", "set_plan('', 'x')" },
        { "p_plan_id", "set_plan('Free', 'x')" },
        { "p_plan_id", "set_plan('a.b', 'x')" },
        { "p_plan_id", "set_plan(repeat('a', 64), 'x')" },
        { "p_plan_name", "set_plan('nobody_made_this')" },
        { "p_plan_name", "set_plan('nobody_made_this', p_debt_limit => 5)" },
        { "p_plan_name", "set_plan('free', '')" },
        { "p_plan_name", "set_plan('free', repeat('a', 201))" },
        { "p_debt_limit", "set_plan('free', p_debt_limit => -1)" },
        { "p_debt_limit", "set_plan('free', p_debt_limit => 'NaN')" },
        { "p_debt_limit", "set_plan('free', p_debt_limit => 'Infinity')" },
        { "p_debt_limit", "set_plan('free', p_debt_limit => 1000000000.1)" },
        { "p_debt_limit", "set_plan('free', p_debt_limit => 0.0000001)" },
        { "p_free_chat_seconds", "set_plan('free', p_free_chat_seconds => -1)" },
        { "p_free_chat_seconds", "set_plan('free', p_free_chat_seconds => 86401)" },
        { "p_plan_id", "set_allowance('nobody_made_this', 'credits', 1, 'day')" },
        { "p_plan_id", "set_allowance('nobody_made_this', 'credits', null)" },
        { "p_plan_id", "set_allowance(null, 'credits', 1, 'day')" },
        { "p_credit_type", "set_allowance('free', null, 1, 'day')" },
        { "p_credit_type", "set_allowance('free', '', null)" },
        { "p_credit_type", "set_allowance('free', 'Credits', 1, 'day')" },
        { "p_credit_type", "set_allowance('free', 'chat-messages', 1, 'day')" },
        { "p_amount", "set_allowance('free', 'credits', 0)" },
        { "p_amount", "set_allowance('free', 'credits', -1, 'day')" },
        { "p_amount", "set_allowance('free', 'credits', 'NaN', 'day')" },
        { "p_amount", "set_allowance('free', 'credits', 'Infinity')" },
        { "p_amount", "set_allowance('free', 'credits', 1000000001)" },
        { "p_amount", "set_allowance('free', 'credits', 0.0000001)" },
        { "p_amount", "set_allowance('free', 'credits', null, 'day')" },
        { "p_period", "set_allowance('free', 'tokens', 1)" },
        { "p_period", "set_allowance('free', 'credits', 1, 'week')" },
        { "p_period", "set_allowance('free', 'credits', 1, 'Month')" },
        { "p_period", "set_allowance('free', 'credits', 1, '')" },
        { "p_plan_id", "set_feature('nobody_made_this', 'send_email', true)" },
        { "p_plan_id", "set_feature('nobody_made_this', 'send_email')" },
        { "p_plan_id", "set_feature(null, 'send_email')" },
        { "p_action_type", "set_feature('free', null, true)" },
        { "p_action_type", "set_feature('free', 'Send E-mail', true)" },
        { "p_action_type", "set_feature('free', 'nobody_priced_this', true)" },
        { "p_action_type", "set_feature('free', 'nobody_priced_this')" },
        { "p_cost_per_unit", "set_feature('free', 'send_email', p_cost_per_unit => -1)" },
        { "p_cost_per_unit", "set_feature('free', 'send_email', p_cost_per_unit => 'NaN')" },
        { "p_cost_per_unit", "set_feature('free', 'send_email', p_cost_per_unit => 1000000001)" },
        { "p_cost_per_unit", "set_feature('free', 'send_email', p_cost_per_unit => 0.0000004)" },
        { "p_cost_per_unit", "set_feature('free', 'send_email', true, 1)" },
        { "p_cost_per_unit", "set_feature('free', 'send_email', true, 0)" },
        { "p_limit_quantity", "set_feature('free', 'send_email', true, null, 3, 'day')" },
        { "p_limit_quantity", "set_feature('free', 'send_email', p_limit_quantity => -1, p_limit_period => 'day')" },
        { "p_limit_quantity", "set_feature('free', 'send_email', p_limit_quantity => 'NaN', p_limit_period => 'day')" },
        { "p_limit_quantity", "set_feature('free', 'send_email', p_limit_quantity => 'Infinity', p_limit_period => 'day')" },
        { "p_limit_quantity", "set_feature('free', 'send_email', p_limit_quantity => 0.0000001, p_limit_period => 'day')" },
        { "p_limit_quantity", "set_feature('free', 'script_generation', p_limit_period => 'day')" },
        { "p_limit_period", "set_feature('free', 'script_generation', p_limit_quantity => 3)" },
        { "p_limit_period", "set_feature('free', 'send_email', p_limit_quantity => 3, p_limit_period => 'once')" },
        { "p_limit_period", "set_feature('free', 'send_email', p_limit_quantity => 3, p_limit_period => 'week')" },
    };

    [Theory]
    [MemberData(nameof(Malformed))]
    public async Task A_malformed_argument_is_refused_by_name_and_changes_no_plan(string argument, string call)
    {
        var before = await Plans();
        await db.Refuses(Guid.NewGuid(), argument, $"select credits.{call}");
        Assert.Equal(before, await Plans());
    }

    [Fact]
    public async Task A_plan_is_added_and_changed_and_what_is_not_given_stays()
    {
        Assert.Equal(("ok", _plan, "New", 0m, 0m), Of(await db.Json("select credits.set_plan($1, 'New')", _plan)));
        Assert.Equal(("ok", _plan, "New", 12.5m, 0m), Of(await db.Json("select credits.set_plan($1, p_debt_limit => 12.5)", _plan)));
        Assert.Equal(("ok", _plan, "New", 12.5m, 60m), Of(await db.Json("select credits.set_plan($1, p_free_chat_seconds => 60)", _plan)));
        Assert.Equal(("ok", _plan, "Newer", 0m, 60m), Of(await db.Json("select credits.set_plan($1, 'Newer', 0)", _plan)));
        Assert.Equal(("ok", _plan, "Newer", 0m, 60m), Of(await db.Json("select credits.set_plan($1)", _plan)));
        Assert.Equal("Newer 0.000000 60", await db.Value<string>("select concat_ws(' ', plan_name, debt_limit, free_chat_seconds) from credits.plans where plan_id = $1", _plan));

        static (string, string, string, decimal, decimal) Of(JsonElement e) =>
            (e.Text("code"), e.Text("plan_id"), e.Text("plan_name"), e.Number("debt_limit"), e.Number("free_chat_seconds"));
    }

    [Fact]
    public async Task A_direct_update_cannot_leave_a_plan_without_a_name() =>
        await db.Fails("23514", "update credits.plans set plan_name = '' where plan_id = 'free'");

    [Fact]
    public async Task A_debt_limit_holds_for_the_next_row_and_free_seconds_for_the_next_session()
    {
        await Made();
        await db.Run("select credits.set_cost($1, 5, p_on_insufficient => 'debt')", _action);
        await db.Run("create table public.debts (id uuid primary key default gen_random_uuid(), user_id uuid not null)");
        await db.Run("select credits.attach_charge('public.debts', $1)", _action);
        var user = await Open();
        await db.Run("insert into public.debts (user_id) values ($1)", user);
        Assert.Equal(0, await db.Charges(user));
        await db.Run("select credits.set_plan($1, p_debt_limit => 7)", _plan);
        await db.Run("insert into public.debts (user_id) values ($1)", user);
        await db.Run("select credits.set_plan($1, p_debt_limit => 0)", _plan);
        await db.Run("insert into public.debts (user_id) values ($1)", user);
        Assert.Equal((1L, 5m), (await db.Charges(user), (await db.Json("select credits.get_credit_balance($1)", user)).Number("debt")));

        var (before, after) = (Guid.NewGuid(), Guid.NewGuid());
        await db.Run("select credits.open_chat_session($1, $2)", user, before);
        await db.Run("select credits.set_plan($1, p_free_chat_seconds => 45)", _plan);
        Assert.Equal(45m, (await db.Json("select credits.open_chat_session($1, $2)", user, after)).Number("free_seconds"));
        Assert.Equal(0m, (await db.Json("select credits.open_chat_session($1, $2)", user, before)).Number("free_seconds"));
    }

    [Fact]
    public async Task An_allowance_is_added_changed_and_removed()
    {
        await Made();
        Assert.Equal(("ok", "12.5", "month", "False"), Of(await db.Json(SetAllowance, _plan, 12.5m, "month")));
        Assert.Equal(("ok", "20", "month", "False"), Of(await db.Json(SetAllowance, _plan, 20m, null)));
        Assert.Equal(("ok", "20", "day", "False"), Of(await db.Json(SetAllowance, _plan, 20m, "day")));
        Assert.Equal(["credits 20.000000 day"], await Allowances());
        await db.Run("select credits.set_allowance($1, 'tokens', 7, 'once')", _plan);
        Assert.Equal(("ok", "", "", "True"), Of(await db.Json(SetAllowance, _plan, null, null)));
        Assert.Equal(("ok", "", "", "False"), Of(await db.Json(SetAllowance, _plan, null, null)));
        Assert.Equal(["tokens 7.000000 once"], await Allowances());

        static (string, string, string, string) Of(JsonElement e) => (e.Text("code"), e.Text("amount"), e.Text("period"), e.Text("removed"));
    }

    [Fact]
    public async Task An_account_that_opens_gets_what_was_set()
    {
        await Made();
        await db.Run(SetAllowance, _plan, 30m, "month");
        await db.Run("select credits.set_allowance($1, 'tokens', 7, 'once')", _plan);
        var user = await Open();
        Assert.Equal((30m, 7m), (await db.Balance(user), await db.Balance(user, "tokens")));
    }

    [Fact]
    public async Task An_account_on_the_plan_gets_another_amount_at_its_next_reset_and_loses_nothing_before()
    {
        await db.SetClock("2026-01-10 00:00Z");
        await Made();
        await db.Run(SetAllowance, _plan, 30m, "month");
        var user = await Open();
        await db.Run(SetAllowance, _plan, 50m, null);
        await db.SetClock("2026-02-09 23:59Z");
        Assert.Equal(30m, await db.Balance(user));
        await db.SetClock("2026-02-10 00:00Z");
        Assert.Equal(50m, await db.Balance(user));
        await db.Run("select credits.settle_due_wallets()");
        await db.Run(SetAllowance, _plan, 10m, null);
        Assert.Equal(50m, await db.Balance(user));
        await db.SetClock("2026-03-10 00:00Z");
        Assert.Equal(10m, await db.Balance(user));
        await db.Run("select credits.settle_due_wallets()");
        await db.Run(SetAllowance, _plan, null, null);
        Assert.Equal(10m, await db.Balance(user));
        await db.SetClock("2026-04-10 00:00Z");
        await db.Run("select credits.settle_due_wallets()");
        Assert.Equal((0m, ""), (await db.Balance(user), (await db.Json("select credits.get_credit_balance($1)", user)).Text("next_monthly_reset")));
        Assert.Equal(["grant 30", "expiry -30", "grant 50", "expiry -50", "grant 10", "expiry -10"], await db.Ledger(user));
        // Nothing renews any more, so a new allowance waits for the change of plan.
        await db.Run(SetAllowance, _plan, 5m, "month");
        await db.SetClock("2026-06-10 00:00Z");
        Assert.Equal(0m, await db.Balance(user));
        Assert.Equal(5m, await Moved(user));
        await db.SetClock("2026-07-10 00:00Z");
        Assert.Equal(5m, await db.Balance(user));
    }

    [Fact]
    public async Task A_change_to_the_same_plan_brings_the_difference_at_once_and_once()
    {
        await db.SetClock("2026-01-10 00:00Z");
        await Made();
        await db.Run(SetAllowance, _plan, 30m, "month");
        var user = await Open();
        await db.Run(SetAllowance, _plan, 50m, null);
        Assert.Equal((20m, 0m, 50m), (await Moved(user), await Moved(user), await db.Balance(user)));
        await db.Run(SetAllowance, _plan, 40m, null);
        Assert.Equal((0m, 50m), (await Moved(user), await db.Balance(user)));
        await db.Run("select credits.set_allowance($1, 'tokens', 7, 'once')", _plan);
        await db.SetClock("2026-03-10 00:00Z");
        Assert.Equal((40m, 0m), (await db.Balance(user), await db.Balance(user, "tokens")));
        await db.Run(ChangePlan, user, _plan);
        await db.Run(ChangePlan, user, _plan);
        Assert.Equal((40m, 7m), (await db.Balance(user), await db.Balance(user, "tokens")));
    }

    [Fact]
    public async Task Another_period_begins_when_the_paid_one_is_over()
    {
        await db.SetClock("2026-01-10 00:00Z");
        await Made();
        await db.Run(SetAllowance, _plan, 30m, "month");
        var user = await Open();
        await db.Run(SetAllowance, _plan, 2m, "day");
        await db.SetClock("2026-02-09 23:59Z");
        Assert.Equal(30m, await db.Balance(user));
        await db.SetClock("2026-02-10 00:00Z");
        Assert.Equal(2m, await db.Balance(user));
        await db.SetClock("2026-02-11 00:00Z");
        await db.Run("select credits.settle_due_wallets()");
        Assert.Equal(2m, await db.Balance(user));
        // From day to month: the month that runs already is not paid, unless by a change of plan.
        var other = await Open();
        await db.SetClock("2026-02-13 00:00Z");
        await db.Run("select credits.settle_due_wallets()");
        await db.Run(SetAllowance, _plan, 30m, "month");
        Assert.Equal((2m, 2m), (await db.Balance(user), await db.Balance(other)));
        await db.SetClock("2026-02-14 00:00Z");
        Assert.Equal((0m, 0m), (await db.Balance(user), await db.Balance(other)));
        Assert.Equal((30m, 30m), (await Moved(other), await db.Balance(other)));
        await db.SetClock("2026-03-10 00:00Z");
        Assert.Equal(30m, await db.Balance(user));
        await db.SetClock("2026-03-11 00:00Z");
        Assert.Equal((30m, 30m), (await db.Balance(user), await db.Balance(other)));
        await db.Run("select credits.settle_due_wallets()");
        Assert.Equal((0m, 0m), (await Moved(user), await Moved(other)));
        // And to once: what there is stays until the period's end; the once-only one comes by a change of plan.
        await db.Run(SetAllowance, _plan, 9m, "once");
        await db.SetClock("2026-04-11 00:00Z");
        Assert.Equal(0m, await db.Balance(user));
        Assert.Equal((9m, 0m, 9m), (await Moved(user), await Moved(user), await db.Balance(user)));
    }

    [Fact]
    public async Task A_price_of_the_plan_holds_for_the_next_charge_and_a_hold_keeps_its_own()
    {
        await Made(2);
        var (user, other) = (await Open(100), await db.Account(100));
        var held = (await db.Json("select credits.reserve_credits($1, $2)", user, _action)).GetProperty("reservation_id").GetGuid();
        Assert.Equal(2m, await Deducted(user));
        await Feature("p_cost_per_unit => 0.5");
        Assert.Equal((0.5m, 2m), (await Deducted(user), await Deducted(other)));
        Assert.Equal(0.5m, (await db.Json("select credits.can_perform_action($1, $2)", user, _action)).Number("credits_needed"));
        await Feature("p_cost_per_unit => 0");
        Assert.Equal(0m, await Deducted(user));
        await db.Run("select credits.set_cost($1, 3)", _action);
        Assert.Equal((0m, 3m), (await Deducted(user), await Deducted(other)));
        Assert.True((await Feature("")).Flag("removed"));
        Assert.Equal(3m, await Deducted(user));
        Assert.Equal(2m, (await db.Json("select credits.commit_reservation($1, $2)", user, held)).Number("credits_deducted"));
        Assert.Equal(100m - 2m - 2m - 0.5m - 3m, await db.Balance(user));
    }

    [Fact]
    public async Task What_is_unlimited_is_free_at_once_and_until_it_is_said_no_more()
    {
        await Made(2);
        var user = await Open();
        Assert.Equal("insufficient_credits", await Code(user));
        var set = await Feature("p_is_unlimited => true");
        Assert.Equal(("ok", true, ""), (set.Text("code"), set.Flag("is_unlimited"), set.Text("cost_per_unit")));
        Assert.Equal((0m, 0m), (await Deducted(user), await Deducted(user)));
        await Feature("p_is_unlimited => false");
        Assert.Equal("insufficient_credits", await Code(user));
        Assert.Equal(0, await db.Value<long>("select count(*) from credits.plan_features where plan_id = $1", _plan));
    }

    [Fact]
    public async Task A_limit_holds_at_once_counts_from_when_it_was_set_and_goes_again()
    {
        await db.SetClock("2026-05-10 00:00Z");
        await Made(1);
        var user = await Open(100);
        Assert.Equal(("ok", "ok"), (await Code(user), await Code(user)));
        await Feature("p_limit_quantity => 2, p_limit_period => 'month'");
        Assert.Equal(("ok", "ok", "limit_reached"), (await Code(user), await Code(user), await Code(user)));
        await Feature("p_limit_quantity => 3, p_limit_period => 'month'");
        Assert.Equal(("ok", "limit_reached"), (await Code(user), await Code(user)));
        await Feature("p_limit_quantity => 1, p_limit_period => 'month'");
        var declined = await db.Json(Charge, user, _action);
        Assert.Equal(("limit_reached", 1m, 3m), (declined.Text("code"), declined.Number("limit"), declined.Number("used")));
        await Feature("p_limit_quantity => 1, p_limit_period => 'day'");
        Assert.Equal(("ok", "limit_reached"), (await Code(user), await Code(user)));
        await db.SetClock("2026-05-11 00:00Z");
        Assert.Equal(("ok", "limit_reached"), (await Code(user), await Code(user)));
        await Feature("p_limit_quantity => 0, p_limit_period => 'month'");
        Assert.Equal("limit_reached", await Code(user));
        await Feature("");
        Assert.Equal("ok", await Code(user));
        Assert.Equal(100 - 8, await db.Balance(user));
    }

    [Fact]
    public async Task Holds_from_before_a_limit_are_committed_and_counted_where_the_limit_is_now()
    {
        await db.SetClock("2026-05-10 00:00Z");
        await Made(1);
        var user = await Open(100);
        const string Reserve = "select credits.reserve_credits($1, $2, $3)";
        var unlimited = (await db.Json(Reserve, user, _action, 2)).GetProperty("reservation_id").GetGuid();
        await Feature("p_limit_quantity => 5, p_limit_period => 'month'");
        var monthly = (await db.Json(Reserve, user, _action, 3)).GetProperty("reservation_id").GetGuid();
        var released = (await db.Json(Reserve, user, _action, 1)).GetProperty("reservation_id").GetGuid();
        Assert.Equal(["month 4"], await Counters(user));
        await Feature("p_limit_quantity => 1, p_limit_period => 'day'");
        Assert.Equal("ok", (await db.Json("select credits.commit_reservation($1, $2)", user, unlimited)).Text("code"));
        Assert.Equal("ok", (await db.Json("select credits.commit_reservation($1, $2)", user, monthly)).Text("code"));
        await db.Run("select credits.release_reservation($1, $2)", user, released);
        Assert.Equal(["day 5", "month 0"], await Counters(user));
        Assert.Equal("limit_reached", await Code(user));
        Assert.Equal(95m, await db.Balance(user));
    }

    [Fact]
    public async Task Each_call_states_the_whole_feature()
    {
        await Made(2);
        var user = await Open(100);
        var both = await Feature("p_cost_per_unit => 0.50, p_limit_quantity => 1.0, p_limit_period => 'day'");
        Assert.Equal(("0.5", "1", "day", false), (both.Text("cost_per_unit"), both.Text("limit_quantity"), both.Text("limit_period"), both.Flag("removed")));
        Assert.Equal(0.5m, await Deducted(user));
        Assert.Equal("limit_reached", await Code(user));
        await Feature("p_cost_per_unit => 0.5");
        Assert.Equal(0.5m, await Deducted(user));
        await Feature("p_limit_quantity => 2, p_limit_period => 'day'");
        Assert.Equal(2m, await Deducted(user));
        await Feature("p_is_unlimited => true");
        Assert.Equal(["t - - -"], await db.Column<string>(
            "select concat_ws(' ', is_unlimited, coalesce(cost_per_unit::text, '-'), coalesce(limit_quantity::text, '-'), coalesce(limit_period, '-')) from credits.plan_features where plan_id = $1", _plan));
        Assert.Equal((true, false), ((await Feature("")).Flag("removed"), (await Feature("")).Flag("removed")));
    }

    [Fact]
    public async Task The_price_knows_whether_some_plan_has_terms_for_it()
    {
        await Made(2);
        await db.Run("select credits.set_plan($1, 'Other')", _plan + "2");
        Assert.False(await Marked());
        await Feature("p_cost_per_unit => 1");
        await db.Run("select credits.set_feature($1, $2, true)", _plan + "2", _action);
        Assert.True(await Marked());
        await Feature("");
        Assert.True(await Marked());
        await db.Run("select credits.set_feature($1, $2)", _plan + "2", _action);
        Assert.False(await Marked());
        // Writing it is not a change of the price.
        Assert.Equal(1, await db.Value<long>("select count(*) from credits.credit_cost_changes where action_type = $1", _action));
    }

    [Fact]
    public async Task What_a_plan_says_of_a_deleted_price_can_be_removed_and_not_restated()
    {
        await Made(2);
        await Feature("p_cost_per_unit => 1");
        await db.Run("delete from credits.credit_costs where action_type = $1", _action);
        await db.Refuses(Guid.NewGuid(), "p_action_type", "select credits.set_feature($1, $2, true)", _plan, _action);
        Assert.True((await Feature("")).Flag("removed"));
        await db.Refuses(Guid.NewGuid(), "p_action_type", "select credits.set_feature($1, $2)", _plan, _action);
    }

    [Theory]
    [MemberData(nameof(Levels))]
    public async Task Callers_who_add_the_same_plan_allowance_and_feature_all_succeed(IsolationLevel level)
    {
        await db.Run("select credits.set_cost($1, 2)", _action);
        var outcomes = await db.Race(Racers, level, async (c, i) =>
        {
            await c.Run("select credits.set_plan($1, $2)", _plan, $"Name {i}");
            await c.Run(SetAllowance, _plan, i + 1m, "month");
            return await c.Json("select credits.set_feature($1, $2, p_cost_per_unit => $3)", _plan, _action, i + 1m);
        });
        Assert.All(outcomes, o => Assert.Equal("ok", o.Text("code")));
        // All three are one caller's, the last one's: each waited for the plan's row.
        Assert.Equal(1, await db.Value<long>(
            """
            select count(*)
            from credits.plans p join credits.plan_allowances a using (plan_id) join credits.plan_features f using (plan_id)
            where plan_id = $1 and a.amount = f.cost_per_unit and p.plan_name = 'Name ' || f.cost_per_unit - 1
            """, _plan));
        Assert.True(await Marked());
    }

    [Theory]
    [MemberData(nameof(Levels))]
    public async Task Plans_that_gain_and_lose_the_same_action_leave_its_price_marked_right(IsolationLevel level)
    {
        await db.Run("select credits.set_cost($1, 2)", _action);
        foreach (var i in Enumerable.Range(0, Racers))
            await db.Run("select credits.set_plan($1, 'Racer')", $"{_plan}_{i}");
        for (var round = 0; round < 4; round++)
        {
            // Half of them say something and half take it back; in the last round nobody says anything.
            await db.Race(Racers, level, async (c, i) =>
            {
                await c.Run("select credits.set_feature($1, $2, $3)", $"{_plan}_{i}", _action, round < 3 && (i + round) % 2 == 0);
                return default;
            });
            Assert.Equal((round < 3, round < 3 ? Racers / 2 : 0L), (await Marked(), await db.Value<long>("select count(*) from credits.plan_features where action_type = $1", _action)));
        }
    }

    [Fact]
    public async Task Of_one_who_takes_the_last_terms_back_and_one_who_says_some_the_second_sees_the_first()
    {
        await Made(2);
        await db.Run("select credits.set_plan($1, 'Other')", _plan + "2");
        await Feature("p_cost_per_unit => 1");
        await using var removing = await db.Source.OpenConnectionAsync(TestContext.Current.CancellationToken);
        await removing.Run("begin");
        await removing.Run("select credits.set_feature($1, $2)", _plan, _action);
        var adding = db.Run("select credits.set_feature($1, $2, true)", _plan + "2", _action);
        await Waits();
        await removing.Run("commit");
        await adding;
        Assert.True(await Marked());
    }

    [Fact]
    public async Task A_repeatable_reader_who_cannot_see_another_plans_new_terms_is_told_to_retry()
    {
        await Made(2);
        await db.Run("select credits.set_plan($1, 'Other')", _plan + "2");
        await Feature("p_cost_per_unit => 1");
        await using var removing = await db.Source.OpenConnectionAsync(TestContext.Current.CancellationToken);
        await removing.Run("begin isolation level repeatable read");
        await removing.Run("select 1 from credits.plans");
        await db.Run("select credits.set_feature($1, $2, true)", _plan + "2", _action);
        var error = await Assert.ThrowsAsync<PostgresException>(() => removing.Run("select credits.set_feature($1, $2)", _plan, _action));
        Assert.Equal("40001", error.SqlState);
        await removing.Run("rollback");
        Assert.True(await Marked());
    }

    [Fact]
    public async Task A_plan_or_price_that_is_deleted_meanwhile_is_unknown_and_no_error_of_a_key()
    {
        await Made(2);
        foreach (var (delete, key, argument) in new[]
        {
            ("delete from credits.credit_costs where action_type = $1", _action, "p_action_type"),
            ("delete from credits.plans where plan_id = $1", _plan, "p_plan_id"),
        })
        {
            await using var deleting = await db.Source.OpenConnectionAsync(TestContext.Current.CancellationToken);
            await deleting.Run("begin");
            await deleting.Run(delete, key);
            var setting = db.Fails("UC001", "select credits.set_feature($1, $2, true)", _plan, _action);
            await Waits();
            await deleting.Run("commit");
            Assert.Contains(argument, (await setting).Detail, StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task A_charge_waits_for_no_plan_that_is_being_written()
    {
        await Made(2);
        await Feature("p_cost_per_unit => 1");
        var user = await Open(100);
        await using var writing = await db.Source.OpenConnectionAsync(TestContext.Current.CancellationToken);
        await writing.Run("begin");
        await writing.Run("select credits.set_plan($1, 'Renamed', 5)", _plan);
        await writing.Run(SetAllowance, _plan, 10m, "month");
        await writing.Run("select credits.set_feature($1, $2, p_cost_per_unit => 7)", _plan, _action);
        await using var charging = await db.Source.OpenConnectionAsync(TestContext.Current.CancellationToken);
        await charging.Run("set lock_timeout = '2s'");
        Assert.Equal(1m, (await charging.Json(Charge, user, _action)).Number("credits_deducted"));
        // Nor does one who opens an account on it.
        await charging.Run("select credits.open_account($1, $2)", Guid.NewGuid(), _plan);
        await charging.Run("reset lock_timeout");
        await writing.Run("commit");
        Assert.Equal(7m, await Deducted(user));
    }

    [Theory]
    [MemberData(nameof(Levels))]
    public async Task Charges_while_terms_change_cost_what_some_terms_said(IsolationLevel level)
    {
        await Made(2);
        var user = await Open(1000);
        string[] terms = ["null, 1", "true", "null, 3, 1000, 'day'", "null"];
        var outcomes = await db.Race(Racers * 3, level, (c, i) => i % 2 == 0
            ? c.Json($"select credits.set_feature($1, $2, {terms[i / 2 % terms.Length]})", _plan, _action)
            : c.Json(Charge, user, _action));
        Assert.All(outcomes, o => Assert.Equal("ok", o.Text("code")));
        Assert.Equal(Racers * 3 / 2, await db.Charges(user));
        Assert.Equal(0, await db.Value<long>("select count(*) from credits.credit_ledger where user_id = $1 and kind = 'usage' and (amount <> -unit_price * quantity or unit_price not in (0, 1, 2, 3))", user));
        Assert.Equal(await db.Value<bool>("select exists (select from credits.plan_features where action_type = $1)", _action), await Marked());
    }

    [Theory]
    [MemberData(nameof(Levels))]
    public async Task Changes_to_the_same_plan_while_its_allowance_grows_end_at_the_largest(IsolationLevel level)
    {
        await db.SetClock("2026-01-10 00:00Z");
        await Made();
        await db.Run(SetAllowance, _plan, 10m, "month");
        var user = await Open();
        await db.Race(Racers * 2, level, (c, i) => i % 2 == 0 ? c.Json(SetAllowance, _plan, 10m + i, null) : c.Json(ChangePlan, user, _plan));
        await db.Run(SetAllowance, _plan, 40m, null);
        await db.Run(ChangePlan, user, _plan);
        Assert.Equal(40m, await db.Balance(user));
    }

    [Fact]
    public async Task An_administrator_writes_plans_and_nobody_else_does()
    {
        await using var connection = new NpgsqlConnection(new NpgsqlConnectionStringBuilder(db.ConnectionString) { Pooling = false }.ConnectionString);
        await connection.OpenAsync(TestContext.Current.CancellationToken);
        string[] calls =
        [
            $"select credits.set_plan('{_plan}', 'Mine')",
            $"select credits.set_allowance('{_plan}', 'credits', 1, 'day')",
            $"select credits.set_feature('{_plan}', 'send_email', true)",
            $"select credits.set_feature('{_plan}', 'send_email')",
        ];
        foreach (var role in new[] { "creditdb_user", "creditdb_reader", "creditdb_app" })
        {
            await connection.Run($"set session authorization {role}");
            foreach (var call in calls)
                Assert.Equal("42501", (await Assert.ThrowsAsync<PostgresException>(() => connection.Run(call))).SqlState);
            await connection.Run("reset session authorization");
        }
        await connection.Run("set session authorization creditdb_admin");
        foreach (var call in calls)
            Assert.Equal("ok", (await connection.Json(call)).Text("code"));
        Assert.Equal("42501", (await Assert.ThrowsAsync<PostgresException>(() => connection.Run("update credits.plans set debt_limit = 1"))).SqlState);
    }

    [Fact]
    public async Task The_example_on_the_page_for_DBAs_does_what_it_says()
    {
        var page = await File.ReadAllTextAsync(Path.Combine(Pages.Repository, "docs/dba.md"), TestContext.Current.CancellationToken);
        var statements = page.Split("## Plans\n")[1].Split("```sql\n")[1].Split("```")[0].Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.Equal(8, statements.Length);
        // An account opens before the allowance is raised.
        var user = Guid.NewGuid();
        foreach (var (n, statement) in statements.Index())
        {
            if (n == 6)
                await db.Run("select credits.open_account($1, 'team')", user);
            await db.Run(statement);
        }
        Assert.Equal(2000m, await db.Balance(user));
        Assert.Equal(["chat_message"], await db.Column<string>("select action_type from credits.plan_features where plan_id = 'team'"));
        Assert.Equal("50.000000", await db.Value<string>("select debt_limit::text from credits.plans where plan_id = 'team'"));
    }

    private async Task Made(decimal? price = null)
    {
        await db.Run("select credits.set_plan($1, 'Test')", _plan);
        if (price is { } cost)
            await db.Run("select credits.set_cost($1, $2)", _action, cost);
    }

    private async Task<Guid> Open(decimal purchased = 0)
    {
        var user = Guid.NewGuid();
        await db.Run("select credits.open_account($1, $2)", user, _plan);
        if (purchased > 0)
            await db.Run("select credits.add_purchased_credits($1, $2)", user, purchased);
        return user;
    }

    private Task<JsonElement> Feature(string terms) =>
        db.Json($"select credits.set_feature($1, $2{(terms.Length > 0 ? ", " : "")}{terms})", _plan, _action);

    private async Task<string> Code(Guid user) => (await db.Json(Charge, user, _action)).Text("code");

    private async Task<decimal> Deducted(Guid user) => (await db.Json(Charge, user, _action)).Number("credits_deducted");

    /// <summary>What a change to the plan that the account has grants.</summary>
    private async Task<decimal> Moved(Guid user) =>
        (await db.Json(ChangePlan, user, _plan)).GetProperty("granted").TryGetProperty("credits", out var amount) ? amount.GetDecimal() : 0;

    private Task<bool> Marked() => db.Value<bool>("select has_plan_terms from credits.credit_costs where action_type = $1", _action);

    private Task<List<string>> Counters(Guid user) =>
        db.Column<string>("select period || ' ' || trim_scale(used) from credits.usage_counters where user_id = $1 order by 1", user);

    private Task<List<string>> Allowances() =>
        db.Column<string>("select concat_ws(' ', credit_type, amount, period) from credits.plan_allowances where plan_id = $1 order by 1", _plan);

    private Task<string> Plans() => db.Value<string>(
        """
        select concat_ws(E'\n',
          (select string_agg(p::text, E'\n' order by plan_id) from credits.plans p),
          (select string_agg(a::text, E'\n' order by plan_id, credit_type) from credits.plan_allowances a),
          (select string_agg(f::text, E'\n' order by plan_id, action_type) from credits.plan_features f),
          (select string_agg(c::text, E'\n' order by action_type) from credits.credit_costs c))
        """);

    private Task Waits() => Eventually.TrueAsync(
        async () => await db.Value<long>("select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'") == 1, "nobody waits");
}

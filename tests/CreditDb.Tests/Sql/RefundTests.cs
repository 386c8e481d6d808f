using System.Data;

namespace CreditDb.Tests.Sql;

/// <summary>Refunds and adjustments: what was charged goes back where it came from, never more than once and never more than was charged.</summary>
public sealed class RefundTests(TestDatabase db) : IClassFixture<TestDatabase>
{
    private const int Racers = 8;
    private const string Refund = "select credits.refund_credits($1, $2, $3)";
    private const string Charge = "select credits.deduct_credits_for_action($1, 'prompt_formatting', $2)";

    public static TheoryData<IsolationLevel> Levels => Racing.Levels;

    [Fact]
    public async Task A_charge_over_several_grants_goes_back_in_parts_the_last_drawn_first()
    {
        var user = await db.Account();
        await db.Run("select credits.grant_credits($1, 4, 'promotional', '2999-01-01')", user);
        await db.Run("select credits.grant_credits($1, 2, 'trial')", user);
        await db.Run("select credits.add_purchased_credits($1, 10)", user);
        var log = await Log(Charge, user, 9m);
        Assert.Equal(["promotional 0", "trial 0", "purchased 7"], await db.Grants(user));
        foreach (var (amount, left, back) in new[]
        {
            (1m, "promotional 0, trial 0, purchased 8", "purchased 1"),
            (3m, "promotional 0, trial 1, purchased 10", "purchased 2, trial 1"),
            (2.5m, "promotional 1.5, trial 2, purchased 10", "trial 1, promotional 1.5"),
        })
        {
            var part = await db.Json("select credits.refund_credits($1, $2, $3, 'sorry')", user, log, amount);
            Assert.Equal(("ok", amount), (part.Text("code"), part.Number("credits_refunded")));
            Assert.Equal(left, string.Join(", ", await db.Grants(user)));
            Assert.Equal(back, await db.Allocations(user, part.Number("refund_log_id")));
        }
        var rest = await db.Json(Refund, user, log, null);
        Assert.Equal((2.5m, 0m, 16m), (rest.Number("credits_refunded"), rest.Number("refundable"), rest.Number("balance_after")));
        Assert.Equal(["promotional 4", "trial 2", "purchased 10"], await db.Grants(user));
        Assert.Equal("already_settled", (await db.Json(Refund, user, log, null)).Text("code"));
        Assert.Equal("already_settled", (await db.Json(Refund, user, log, 0.000001m)).Text("code"));
        Assert.Equal("sorry", await db.Value<string>("select min(reference) from credits.credit_ledger where user_id = $1 and kind = 'refund' and related_entry_no = $2", user, log));
    }

    [Fact]
    public async Task More_than_is_left_is_not_refunded_and_says_what_would_be()
    {
        var user = await db.Account(10);
        var log = await Log(Charge, user, 5m);
        await db.Run(Refund, user, log, 3m);
        var before = await db.Snapshot(user);
        var outcome = await db.Json(Refund, user, log, 3m);
        Assert.Equal(("already_settled", false, 2m), (outcome.Text("code"), outcome.Flag("success"), outcome.Number("refundable")));
        Assert.Equal(before, await db.Snapshot(user));
    }

    [Fact]
    public async Task Only_charges_can_be_refunded_and_only_those_of_the_user_and_the_wallet()
    {
        var (user, other) = (await db.Account(10), await db.Account(10));
        var id = (await db.Json("select credits.reserve_credits($1, 'send_email')", user)).Text("reservation_id");
        await db.Run("select credits.release_reservation($1, $2)", user, id);
        var log = await Log(Charge, user, 1m);
        var refund = (await db.Json(Refund, user, log, 1m)).Number("refund_log_id");
        foreach (var entry in new[] { 1, 2, 3, (long)refund, 99 })
            Assert.Equal("not_found", (await db.Json(Refund, user, entry, null)).Text("code"));
        Assert.Equal("not_found", (await db.Json(Refund, other, log, null)).Text("code"));
        Assert.Equal("not_found", (await db.Json("select credits.refund_credits($1, $2, p_credit_type => 'chat_messages')", user, log)).Text("code"));
        Assert.Equal("unknown_account", (await db.Json(Refund, Guid.NewGuid(), log, null)).Text("code"));
    }

    [Fact]
    public async Task What_goes_back_to_an_expired_grant_expires()
    {
        await db.SetClock("2026-03-01 00:00Z");
        var user = await db.Account(5);
        await db.Run("select credits.grant_credits($1, 4, 'promotional', '2026-03-02 00:00Z')", user);
        var log = await Log(Charge, user, 6m);
        await db.SetClock("2026-03-03 00:00Z");
        var refunded = await db.Json(Refund, user, log, null);
        Assert.Equal((6m, 4m, 5m, 5m), (refunded.Number("credits_refunded"), refunded.Number("credits_expired"), refunded.Number("balance_after"), await db.Balance(user)));
        Assert.Equal(["grant 5", "grant 4", "usage -6", "refund 6", "expiry -4"], await db.Ledger(user));
        Assert.Equal("already_settled", (await db.Json(Refund, user, log, null)).Text("code"));
    }

    [Fact]
    public async Task A_refund_of_a_committed_hold_names_the_grants_of_the_hold()
    {
        var user = await db.Account();
        await db.Run("select credits.grant_credits($1, 4, 'promotional', '2999-01-01')", user);
        await db.Run("select credits.add_purchased_credits($1, 10)", user);
        var id = (await db.Json("select credits.reserve_credits($1, 'prompt_formatting', 6)", user)).Text("reservation_id");
        var log = await Log("select credits.commit_reservation($1, $2, 5)", user, id);
        await db.Run(Refund, user, log, null);
        Assert.Equal(["promotional 4", "purchased 10"], await db.Grants(user));
    }

    [Fact]
    public async Task A_charge_into_debt_lowers_the_debt_and_once_that_is_paid_becomes_a_grant()
    {
        var (user, log) = await InDebt(3, 10);
        // 3 of the purchase, 7 overdrawn. The overdrawn part is the last, so it goes back first.
        var part = await db.Json(Refund, user, log, 2m);
        Assert.Equal((-5m, 5m), (part.Number("balance_after"), await Debt(user)));
        await db.Run("select credits.add_purchased_credits($1, 6)", user);
        Assert.Equal((1m, 0m), (await db.Balance(user), await Debt(user)));
        // Of what is left, 5 were overdrawn and paid meanwhile: a grant of its own; 3 go back to the first purchase.
        var rest = await db.Json(Refund, user, log, null);
        Assert.Equal((8m, 9m, 0m), (rest.Number("credits_refunded"), rest.Number("balance_after"), rest.Number("refundable")));
        Assert.Equal(["purchased 3", "purchased 1", "refund 5"], await db.Grants(user));
        Assert.Equal("already_settled", (await db.Json(Refund, user, log, null)).Text("code"));
        Assert.Equal(10m, await db.Value<decimal>("select sum(amount) from credits.credit_refunds where user_id = $1 and log_id = $2", user, log));
    }

    [Fact]
    public async Task A_debt_paid_in_part_takes_its_part_and_the_rest_is_a_grant()
    {
        var (user, log) = await InDebt(0, 10);
        await db.Run("select credits.add_purchased_credits($1, 4)", user);
        var all = await db.Json(Refund, user, log, null);
        Assert.Equal((10m, 4m, 0m), (all.Number("credits_refunded"), all.Number("balance_after"), await Debt(user)));
        Assert.Equal(["purchased 0", "refund 4"], await db.Grants(user));
    }

    [Fact]
    public async Task A_key_refunds_once_and_is_no_key_of_another_refund()
    {
        var user = await db.Account(10);
        var log = await Log(Charge, user, 5m);
        const string Keyed = "select credits.refund_credits($1, $2, $3, 'r', 'k')";
        var first = await db.Json(Keyed, user, log, 2m);
        var again = await db.Json(Keyed, user, log, 2m);
        Assert.Equal((first.Text("refund_log_id"), true, 7m), (again.Text("refund_log_id"), again.Flag("replayed"), await db.Balance(user)));
        await db.Fails("UC201", Keyed, user, log, 3m);
    }

    [Fact]
    public async Task A_charge_that_is_refunded_stays_done()
    {
        var user = await db.Account(10);
        const string Keyed = "select credits.deduct_credits_for_action($1, 'prompt_generation', p_idempotency_key => 'k')";
        var log = (long)(await db.Json(Keyed, user)).Number("log_id");
        await db.Run(Refund, user, log, null);
        Assert.True((await db.Json(Keyed, user)).Flag("replayed"));
        Assert.Equal(10, await db.Balance(user));
    }

    [Theory]
    [MemberData(nameof(Levels))]
    public async Task Eight_connections_refund_one_charge_in_full_and_one_does(IsolationLevel level)
    {
        var user = await db.Account(100);
        var log = await Log(Charge, user, 30m);
        var outcomes = await db.Race(Racers, level, (c, _) => c.Json(Refund, user, log, null));
        Assert.Single(outcomes, o => o.Text("code") == "ok");
        Assert.Equal(Racers - 1, outcomes.Count(o => o.Text("code") == "already_settled"));
        Assert.Equal(100, await db.Balance(user));
    }

    [Theory]
    [MemberData(nameof(Levels))]
    public async Task Parts_race_over_several_grants_and_never_exceed_the_charge(IsolationLevel level)
    {
        var user = await db.Account();
        foreach (var _ in Enumerable.Range(0, 5))
            await db.Run("select credits.grant_credits($1, 10, 'promotional')", user);
        var log = await Log(Charge, user, 45m);
        var outcomes = await db.Race(Racers * 2, level, (c, _) => c.Json(Refund, user, log, 7m));
        Assert.Equal(6, outcomes.Count(o => o.Text("code") == "ok"));
        Assert.Equal((47m, 42m), (await db.Balance(user), await db.Value<decimal>("select sum(amount) from credits.credit_refunds where user_id = $1", user)));
        Assert.All(outcomes.Where(o => o.Text("code") != "ok"), o => Assert.Equal(3m, o.Number("refundable")));
    }

    [Fact]
    public async Task Refunds_race_with_the_payment_of_the_debt_that_they_refund()
    {
        for (var round = 0; round < 5; round++)
        {
            var (user, log) = await InDebt(0, 16);
            await db.Race(Racers * 2, IsolationLevel.ReadCommitted, (c, i) => i % 2 == 0
                ? c.Json(Refund, user, log, 2m)
                : c.Json("select credits.add_purchased_credits($1, 3)", user));
            Assert.Equal((24m, 0m), (await db.Balance(user), await Debt(user)));
        }
    }

    [Fact]
    public async Task A_repeatable_read_caller_who_comes_second_gets_40001()
    {
        var user = await db.Account(10);
        var log = await Log(Charge, user, 5m);
        await using var late = await db.Source.OpenConnectionAsync(TestContext.Current.CancellationToken);
        await late.Run("begin isolation level repeatable read");
        await late.Value<long>("select count(*) from credits.wallets");
        await db.Run(Refund, user, log, 4m);
        Assert.Equal("40001", (await Assert.ThrowsAsync<Npgsql.PostgresException>(() => late.Run(Refund, user, log, 4m))).SqlState);
        await late.Run("rollback");
        Assert.Equal(9, await db.Balance(user));
    }

    [Fact]
    public async Task Adjustments_go_both_ways_with_their_reason_and_not_below_what_there_is()
    {
        var user = await db.Account(10);
        Assert.Equal(15m, (await db.Json("select credits.adjust_credits($1, 5, 'goodwill')", user)).Number("balance_after"));
        var taken = await db.Json("select credits.adjust_credits($1, -12, 'abuse', 'k')", user);
        Assert.Equal((-12m, 15m, 3m), (taken.Number("amount"), taken.Number("balance_before"), taken.Number("balance_after")));
        Assert.True((await db.Json("select credits.adjust_credits($1, -12, 'abuse', 'k')", user)).Flag("replayed"));
        await db.Fails("UC201", "select credits.adjust_credits($1, -11, 'abuse', 'k')", user);
        await db.Fails("UC201", "select credits.adjust_credits($1, 12, 'abuse', 'k')", user);
        var before = await db.Snapshot(user);
        var declined = await db.Json("select credits.adjust_credits($1, -4, 'abuse')", user);
        Assert.Equal(("insufficient_credits", 4m, 3m), (declined.Text("code"), declined.Number("required"), declined.Number("available")));
        Assert.Equal(before, await db.Snapshot(user));
        Assert.Equal(["grant 10", "grant 5", "adjustment -12"], await db.Ledger(user));
        Assert.Equal(["purchased 0", "adjustment 3"], await db.Grants(user));
        Assert.Equal("abuse", await db.Value<string>("select reference from credits.credit_ledger where user_id = $1 and kind = 'adjustment'", user));
    }

    [Fact]
    public async Task Eight_connections_take_by_adjustment_no_more_than_there_is()
    {
        var user = await db.Account(20);
        var outcomes = await db.Race(Racers, IsolationLevel.RepeatableRead, (c, _) => c.Json("select credits.adjust_credits($1, -6, 'correction')", user));
        Assert.Equal((3, 2m), (outcomes.Count(o => o.Text("code") == "ok"), await db.Balance(user)));
    }

    [Theory]
    [InlineData("p_user_id", "refund_credits(null, $2)")]
    [InlineData("p_log_id", "refund_credits($1, null)")]
    [InlineData("p_log_id", "refund_credits($1, 0)")]
    [InlineData("p_amount", "refund_credits($1, $2, 0)")]
    [InlineData("p_amount", "refund_credits($1, $2, -1)")]
    [InlineData("p_amount", "refund_credits($1, $2, 'NaN')")]
    [InlineData("p_amount", "refund_credits($1, $2, 'Infinity')")]
    [InlineData("p_amount", "refund_credits($1, $2, 0.0000001)")]
    [InlineData("p_reason", "refund_credits($1, $2, 1, '')")]
    [InlineData("p_reason", "refund_credits($1, $2, 1, repeat('x', 256))")]
    [InlineData("p_idempotency_key", "refund_credits($1, $2, 1, null, '')")]
    [InlineData("p_credit_type", "refund_credits($1, $2, 1, null, null, 'No Type')")]
    [InlineData("p_credit_type", "refund_credits($1, $2, 1, null, null, null)")]
    [InlineData("p_user_id", "adjust_credits(null, 1, 'x')")]
    [InlineData("p_amount", "adjust_credits($1, null, 'x')")]
    [InlineData("p_amount", "adjust_credits($1, 0, 'x')")]
    [InlineData("p_amount", "adjust_credits($1, 'NaN', 'x')")]
    [InlineData("p_amount", "adjust_credits($1, '-Infinity', 'x')")]
    [InlineData("p_amount", "adjust_credits($1, -1000000001, 'x')")]
    [InlineData("p_reason", "adjust_credits($1, 1, null)")]
    [InlineData("p_reason", "adjust_credits($1, -1, '')")]
    [InlineData("p_idempotency_key", "adjust_credits($1, -1, 'x', '')")]
    [InlineData("p_credit_type", "adjust_credits($1, -1, 'x', null, 'X')")]
    public async Task Refuses_malformed_arguments_by_name_and_changes_nothing(string argument, string call)
    {
        var user = await db.Account(10);
        var log = await Log(Charge, user, 5m);
        await db.Refuses(user, argument, $"select credits.{call}, $1::uuid, $2::bigint", user, log);
    }

    private async Task<long> Log(string charge, params object?[] arguments) => (long)(await db.Json(charge, arguments)).Number("log_id");

    private Task<decimal> Debt(Guid user) => db.Value<decimal>("select debt from credits.wallets where user_id = $1 and credit_type = 'credits'", user);

    /// <summary>Charged for a row under the policy debt, by an amount above the credits there are.</summary>
    private async Task<(Guid User, long Log)> InDebt(decimal credits, decimal price)
    {
        await db.Run("update credits.plans set debt_limit = 100 where plan_id = 'paid'");
        await db.Run("update credits.credit_costs set on_insufficient = 'debt', cost_per_unit = $1 where action_type = 'create_agent'", price);
        var user = await db.Account(credits);
        await db.Run("insert into public.bots (user_id, name) values ($1, 'a')", user);
        Assert.Equal(price - credits, await Debt(user));
        return (user, await db.Value<long>("select id from credits.credit_usage_logs where user_id = $1", user));
    }
}

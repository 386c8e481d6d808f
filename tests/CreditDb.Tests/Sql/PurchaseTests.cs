using System.Data;
using System.Text.Json;
using Npgsql;

namespace CreditDb.Tests.Sql;

/// <summary>Packages are bought, paid, refunded, disputed and reinstated; the books and the price decide how many credits move.</summary>
public sealed class PurchaseTests(TestDatabase db) : IClassFixture<TestDatabase>
{
    public static TheoryData<IsolationLevel> Levels => Racing.Levels;

    [Fact]
    public async Task A_purchase_keeps_the_terms_it_was_begun_on_and_grants_nothing_before_it_is_paid()
    {
        var user = await db.Account();
        await db.Run("select credits.set_package('pinned', 100, 500, 'USD', p_features => '[\"a\", \"b\"]')");
        var begun = await db.Json("select credits.create_purchase($1, 'pinned', 'stripe', '{\"cart\": 7}')", user);
        Assert.Equal(("ok", "pending", "USD", false), (begun.Text("code"), begun.Text("status"), begun.Text("currency"), begun.Flag("replayed")));
        await db.Run("select credits.set_package('pinned', 1, 1, 'EUR', p_features => '[]', p_is_active => false)");
        Assert.Equal("not_found", (await db.Json("select credits.create_purchase($1, 'pinned', 'stripe')", user)).Text("code"));
        Assert.Equal(0, await db.Balance(user));

        var purchase = begun.GetProperty("purchase_id").GetGuid();
        var paid = await db.Json("select credits.complete_purchase($1, $2, 'pay 1', 500, 'USD')", user, purchase);
        Assert.Equal(("ok", "paid", 100m, 500m, 100m), (paid.Text("code"), paid.Text("status"), paid.Number("credits"), paid.Number("price_minor"), paid.Number("balance_after")));
        Assert.Equal("[\"a\", \"b\"] {\"cart\": 7} pay 1", await db.Value<string>("select features::text || ' ' || metadata::text || ' ' || provider_reference from credits.credit_purchases where user_id = $1", user));
        Assert.Equal("purchased 100.000000 pay 1", await db.Value<string>(
            "select g.source || ' ' || g.remaining || ' ' || l.reference from credits.credit_grants g join credits.credit_ledger l on l.user_id = g.user_id and l.credit_type = g.credit_type and l.entry_no = g.grant_no where g.user_id = $1 and g.grant_no = $2",
            user, (long)paid.Number("log_id")));
        Assert.Equal("purchase info", await db.Value<string>("select type || ' ' || severity from credits.notifications where user_id = $1", user));
        Assert.Equal(100, (await db.Json("select credits.get_credit_balance($1)", user)).Number("purchased"));
    }

    [Fact]
    public async Task The_packages_of_the_seed_are_on_sale() => Assert.Equal(
        ["starter 100.000000 500 USD", "growth 500.000000 2000 USD", "scale 2500.000000 7500 USD"],
        await db.Column<string>("select concat_ws(' ', package_id, credits, price_minor, currency) from credits.credit_packages where package_id in ('starter', 'growth', 'scale') and is_active and jsonb_array_length(features) > 0 order by sort_order"));

    [Fact]
    public async Task A_key_begins_one_purchase_from_eight_connections_and_is_of_that_request_only()
    {
        var user = await db.Account();
        var begun = await Task.WhenAll(Enumerable.Range(0, 8).Select(_ => db.Json("select credits.create_purchase($1, 'starter', 'stripe', p_idempotency_key => 'cart')", user)));
        Assert.Single(begun.Select(b => b.Text("purchase_id")).Distinct());
        Assert.Single(begun, b => !b.Flag("replayed"));
        var before = await db.Snapshot(user);
        await db.Fails("UC201", "select credits.create_purchase($1, 'growth', 'stripe', p_idempotency_key => 'cart')", user);
        await db.Fails("UC201", "select credits.create_purchase($1, 'starter', 'paddle', p_idempotency_key => 'cart')", user);
        Assert.Equal(before, await db.Snapshot(user));
    }

    [Theory]
    [MemberData(nameof(Levels))]
    public async Task Completing_at_once_from_twelve_connections_grants_once(IsolationLevel level)
    {
        var user = await db.Account();
        var purchase = await Begun(user);
        var outcomes = await Race(level, 12, (connection, _) => connection.Json("select credits.complete_purchase($1, $2, 'pay' || $1, 500, 'USD')", user, purchase));
        Assert.All(outcomes, o => Assert.Equal(("ok", "paid", 100m), (o.Text("code"), o.Text("status"), o.Number("balance_after"))));
        Assert.Single(outcomes, o => !o.Flag("replayed"));
        Assert.Equal((100m, 1L), (await db.Balance(user), await db.Value<long>("select count(*) from credits.credit_ledger where user_id = $1", user)));
        Assert.Equal(1, await db.Value<int>("select repeats from credits.notifications where user_id = $1", user));
    }

    [Fact]
    public async Task One_payment_for_two_purchases_at_once_completes_one()
    {
        var user = await db.Account();
        var purchases = new[] { await Begun(user), await Begun(user) };
        var states = await Task.WhenAll(Enumerable.Range(0, 8).Select(async i =>
        {
            try
            {
                await db.Run("select credits.complete_purchase($1, $2, 'the one')", user, purchases[i % 2]);
                return "ok";
            }
            catch (PostgresException e)
            {
                return e.SqlState;
            }
        }));
        Assert.Equal((4, 4), (states.Count(s => s == "ok"), states.Count(s => s == "UC333")));
        Assert.Equal(100, await db.Balance(user));
        // Another provider's payment may have the same name.
        var other = await Begun(user, provider: "paddle");
        Assert.True((await db.Json("select credits.complete_purchase($1, $2, 'the one')", user, other)).Flag("success"));
    }

    [Fact]
    public async Task A_payment_that_is_not_the_price_or_not_the_purchases_changes_nothing()
    {
        var user = await db.Account();
        var (purchase, paid) = (await Begun(user), await Paid(user, reference: "first"));
        var before = await db.Snapshot(user);
        var error = await db.Fails("UC331", "select credits.complete_purchase($1, $2, 'p', 499, 'USD')", user, purchase);
        Assert.Equal(500, JsonDocument.Parse(error.Detail!).RootElement.Number("price_minor"));
        await db.Fails("UC331", "select credits.complete_purchase($1, $2, 'p', 501)", user, purchase);
        await db.Fails("UC331", "select credits.complete_purchase($1, $2, 'p', 500, 'EUR')", user, purchase);
        await db.Fails("UC331", "select credits.complete_purchase($1, $2, 'first' || $1, 1)", user, paid);
        await db.Fails("UC332", "select credits.complete_purchase($1, $2, 'second')", user, paid);
        await db.Fails("UC333", "select credits.complete_purchase($1, $2, 'first' || $1)", user, purchase);
        await db.Fails("UC330", "select credits.fail_purchase($1, $2, 'late')", user, paid);
        await db.Fails("UC330", "select credits.refund_purchase($1, $2)", user, purchase);
        Assert.Equal(before, await db.Snapshot(user));
    }

    [Fact]
    public async Task A_failed_purchase_fails_once_and_can_still_be_paid()
    {
        var user = await db.Account();
        var purchase = await Begun(user);
        var failed = await db.Json("select credits.fail_purchase($1, $2, 'card declined')", user, purchase);
        Assert.Equal(("ok", "failed", false), (failed.Text("code"), failed.Text("status"), failed.Flag("replayed")));
        var before = await db.Snapshot(user);
        var again = await db.Json("select credits.fail_purchase($1, $2, 'something else')", user, purchase);
        Assert.Equal((true, "card declined"), (again.Flag("replayed"), again.Text("failure_reason")));
        await db.Fails("UC330", "select credits.refund_purchase($1, $2)", user, purchase);
        Assert.Equal(before, await db.Snapshot(user));
        Assert.Equal("paid", (await db.Json("select credits.complete_purchase($1, $2, 'late')", user, purchase)).Text("status"));
        Assert.Equal(100, await db.Balance(user));
    }

    [Fact]
    public async Task A_refunded_purchase_is_never_granted_again()
    {
        var user = await db.Account();
        var purchase = await Paid(user, reference: "pay");
        await db.Run("select credits.refund_purchase($1, $2)", user, purchase);
        var before = await db.Snapshot(user);
        var late = await db.Json("select credits.complete_purchase($1, $2, 'pay' || $1, 500, 'USD')", user, purchase);
        Assert.Equal((true, "refunded"), (late.Flag("replayed"), late.Text("status")));
        await db.Fails("UC332", "select credits.complete_purchase($1, $2, 'pay again', 500, 'USD')", user, purchase);
        Assert.Equal("already_settled", (await db.Json("select credits.refund_purchase($1, $2)", user, purchase)).Text("code"));
        Assert.Equal(before, await db.Snapshot(user));
        Assert.Equal(0, await db.Balance(user));
    }

    [Fact]
    public async Task Partial_refunds_add_up_exactly()
    {
        var user = await db.Account();
        await db.Run("select credits.set_package('thirds', 100, 3, 'USD')");
        var purchase = await Paid(user, "thirds");
        var taken = new List<decimal>();
        for (var i = 0; i < 3; i++)
        {
            var refund = await db.Json("select credits.refund_purchase($1, $2, 1)", user, purchase);
            taken.Add(refund.Number("credits_taken"));
            Assert.Equal((2 - i, i < 2 ? "paid" : "refunded"), ((int)refund.Number("refundable_minor"), refund.Text("status")));
        }
        Assert.Equal([33.333333m, 33.333334m, 33.333333m], taken);
        Assert.Equal(0, await db.Balance(user));
        Assert.Equal("already_settled", (await db.Json("select credits.refund_purchase($1, $2, 1)", user, purchase)).Text("code"));
        Assert.Equal(4, await db.Value<long>("select count(*) from credits.credit_ledger where user_id = $1", user));
    }

    [Fact]
    public async Task Refunds_of_the_smallest_purchase_add_up_too_and_one_beyond_the_price_is_refused()
    {
        var user = await db.Account(1);
        await db.Run("select credits.set_package('speck', 0.000001, 3, 'JPY')");
        var purchase = await Paid(user, "speck");
        Assert.Equal("already_settled", (await db.Json("select credits.refund_purchase($1, $2, 4)", user, purchase)).Text("code"));
        var taken = new List<decimal>();
        for (var i = 0; i < 3; i++)
            taken.Add((await db.Json("select credits.refund_purchase($1, $2, 1)", user, purchase)).Number("credits_taken"));
        Assert.Equal([0m, 0.000001m, 0m], taken);
        Assert.Equal(1, await db.Balance(user));
    }

    [Fact]
    public async Task What_was_spent_becomes_debt_that_the_next_purchase_pays_first()
    {
        var user = await db.Account();
        var purchase = await Paid(user);
        await db.Run("select credits.deduct_credits_for_action($1, 'create_agent', 20)", user);
        var refund = await db.Json("select credits.refund_purchase($1, $2, p_reason => 'goodwill')", user, purchase);
        Assert.Equal((100m, 0m, 100m, -100m), (refund.Number("credits_taken"), refund.Number("revoked"), refund.Number("owing"), refund.Number("balance_after")));
        Assert.Equal("debt", await db.Value<string>("select kind from credits.credit_ledger where user_id = $1 order by entry_no desc limit 1", user));
        // Given credits are spendable: they pay no purchase's debt.
        await db.Run("select credits.grant_credits($1, 30, 'promotional')", user);
        Assert.Equal((30m, 100m), await Books(user));
        await Paid(user, "growth", "next");
        Assert.Equal((430m, 0m), await Books(user));
    }

    [Fact]
    public async Task A_refund_takes_from_its_own_grant_and_leaves_the_others()
    {
        var user = await db.Account();
        var (first, _) = (await Paid(user, reference: "1"), await Paid(user, reference: "2"));
        await db.Run("select credits.deduct_credits_for_action($1, 'create_agent', 6)", user);
        var refund = await db.Json("select credits.refund_purchase($1, $2)", user, first);
        Assert.Equal((70m, 30m), (refund.Number("revoked"), refund.Number("owing")));
        Assert.Equal((100m, 30m), await Books(user));
        Assert.Equal(["0.000000", "100.000000"], await db.Column<string>("select remaining::text from credits.credit_grants where user_id = $1 order by grant_no", user));
    }

    [Fact]
    public async Task Held_credits_are_not_left_of_the_grant_and_pay_the_debt_when_they_come_back()
    {
        var user = await db.Account();
        var purchase = await Paid(user);
        var released = await Held(user, 4);
        var committed = await Held(user, 6);
        var refund = await db.Json("select credits.refund_purchase($1, $2)", user, purchase);
        Assert.Equal((50m, 50m), (refund.Number("revoked"), refund.Number("owing")));
        await db.Run("select credits.release_reservation($1, $2)", user, released);
        Assert.Equal((0m, 30m), await Books(user));
        Assert.Equal("ok", (await db.Json("select credits.commit_reservation($1, $2)", user, committed)).Text("code"));
        Assert.Equal((0m, 30m), await Books(user));
        var log = await db.Value<long>("select max(entry_no) from credits.credit_ledger where user_id = $1", user);
        await db.Run("select credits.refund_credits($1, $2)", user, log);
        Assert.Equal((0m, 0m), await Books(user));
    }

    [Fact]
    public async Task A_refund_of_the_same_reference_is_booked_once_also_from_eight_connections()
    {
        var user = await db.Account();
        var (purchase, other) = (await Paid(user, reference: "1"), await Paid(user, reference: "2"));
        var refunds = await Task.WhenAll(Enumerable.Range(0, 8).Select(_ => db.Json("select credits.refund_purchase($1, $2, 100, p_provider_reference => 're 1')", user, purchase)));
        Assert.Single(refunds, r => !r.Flag("replayed"));
        Assert.All(refunds, r => Assert.Equal((20m, 1m), (r.Number("credits_taken"), r.Number("refund_no"))));
        Assert.Equal(180, await db.Balance(user));
        var before = await db.Snapshot(user);
        await db.Fails("UC334", "select credits.refund_purchase($1, $2, 101, p_provider_reference => 're 1')", user, purchase);
        await db.Fails("UC334", "select credits.refund_purchase($1, $2, 100, p_provider_reference => 're 1', p_is_dispute => true)", user, purchase);
        await db.Fails("UC334", "select credits.refund_purchase($1, $2, 100, p_provider_reference => 're 1')", user, other);
        await db.Fails("UC335", "select credits.reinstate_purchase($1, $2, 're 1')", user, purchase);
        Assert.True((await db.Json("select credits.refund_purchase($1, $2, p_provider_reference => 're 1')", user, purchase)).Flag("replayed"));
        Assert.Equal(before, await db.Snapshot(user));
    }

    [Fact]
    public async Task A_repeated_report_returns_the_balance_of_the_first_one_also_from_the_archive()
    {
        var user = await db.Account();
        var purchase = await Paid(user, reference: "pay");
        await db.Run("select credits.deduct_credits_for_action($1, 'create_agent', 18)", user);
        const string refund = "select credits.refund_purchase($1, $2, 100, p_provider_reference => 'lost', p_is_dispute => true)";
        var first = await db.Json(refund, user, purchase);
        await db.Run("select credits.grant_credits($1, 7, 'promotional')", user);
        Assert.Equal((-10m, -10m), (first.Number("balance_after"), (await db.Json(refund, user, purchase)).Number("balance_after")));
        await db.Run("select credits.reinstate_purchase($1, $2, 'lost')", user, purchase);
        await db.Run("select credits.grant_credits($1, 1, 'promotional')", user);
        await db.Run("select credits.archive_ledger(credits.clock_now(), 100000)");
        Assert.Equal(0, await db.Value<long>("select count(*) from credits.credit_ledger where user_id = $1 and kind = 'debt'", user));
        Assert.Equal(17, (await db.Json("select credits.reinstate_purchase($1, $2, 'lost')", user, purchase)).Number("balance_after"));
        Assert.Equal(100, (await db.Json("select credits.complete_purchase($1, $2, 'pay' || $1)", user, purchase)).Number("balance_after"));
    }

    [Theory]
    [MemberData(nameof(Levels))]
    public async Task Full_refunds_at_once_take_the_purchase_once(IsolationLevel level)
    {
        var user = await db.Account(7);
        var purchase = await Paid(user);
        var outcomes = await Race(level, 10, (connection, _) => connection.Json("select credits.refund_purchase($1, $2)", user, purchase));
        Assert.Single(outcomes, o => o.Text("code") == "ok");
        Assert.Equal(9, outcomes.Count(o => o.Text("code") == "already_settled"));
        Assert.Equal((7m, 0m), await Books(user));
    }

    [Theory]
    [MemberData(nameof(Levels))]
    public async Task Refunds_race_charges_and_every_credit_is_accounted_for(IsolationLevel level)
    {
        var user = await db.Account();
        var purchase = await Paid(user);
        var outcomes = await Race(level, 24, (connection, i) => i % 3 == 0
            ? connection.Json("select credits.refund_purchase($1, $2, 50, p_provider_reference => $3)", user, purchase, $"re {i % 12}")
            : connection.Json("select credits.deduct_credits_for_action($1, 'create_agent')", user));
        // Four references, each sent twice: 40 credits; sixteen charges of 5, of which all that the balance covered were taken.
        var spent = 5 * outcomes.Where((o, i) => i % 3 != 0 && o.Text("code") == "ok").Count();
        Assert.Equal(4, outcomes.Where((o, i) => i % 3 == 0 && !o.Flag("replayed")).Count());
        var (spendable, debt) = await Books(user);
        Assert.Equal(100 - 40 - spent, spendable - debt);
        Assert.InRange(spent, 60, 80);
        Assert.Equal(0, spendable);
        Assert.Equal(40m, await db.Value<decimal>("select refunded_credits from credits.credit_purchases where user_id = $1", user));
    }

    [Fact]
    public async Task A_dispute_that_is_won_gives_back_exactly_what_it_took_and_once()
    {
        var user = await db.Account();
        var purchase = await Paid(user);
        await db.Run("select credits.deduct_credits_for_action($1, 'create_agent', 8)", user);
        await db.Run("select credits.refund_purchase($1, $2, 100, p_provider_reference => 'refund')", user, purchase);
        var dispute = await db.Json("select credits.refund_purchase($1, $2, p_provider_reference => 'dispute', p_is_dispute => true)", user, purchase);
        Assert.Equal(("refunded", 80m, 40m, 40m), (dispute.Text("status"), dispute.Number("credits_taken"), dispute.Number("revoked"), dispute.Number("owing")));
        Assert.Equal((0m, 40m), await Books(user));
        var won = await Task.WhenAll(Enumerable.Range(0, 8).Select(_ => db.Json("select credits.reinstate_purchase($1, $2, 'dispute', 'won')", user, purchase)));
        Assert.Single(won, w => !w.Flag("replayed"));
        Assert.All(won, w => Assert.Equal(("paid", 100m, 20m, true), (w.Text("status"), w.Number("refunded_minor"), w.Number("refunded_credits"), w.Flag("reinstated"))));
        Assert.Equal((40m, 0m), await Books(user));
        Assert.Equal(1, await db.Value<long>("select count(*) from credits.stored_grants where user_id = $1", user));
        // The provider's late repeat of the dispute takes nothing again.
        Assert.True((await db.Json("select credits.refund_purchase($1, $2, p_provider_reference => 'dispute', p_is_dispute => true)", user, purchase)).Flag("replayed"));
        Assert.Equal((40m, 0m), await Books(user));
        Assert.Equal("not_found", (await db.Json("select credits.reinstate_purchase($1, $2, 'another')", user, purchase)).Text("code"));
    }

    [Fact]
    public async Task A_won_disputes_debt_that_was_paid_since_comes_back_as_credits_of_the_purchase()
    {
        var user = await db.Account();
        var purchase = await Paid(user, reference: "1");
        await db.Run("select credits.deduct_credits_for_action($1, 'create_agent', 16)", user);
        await db.Run("select credits.refund_purchase($1, $2, p_provider_reference => 'dispute', p_is_dispute => true)", user, purchase);
        await db.Run("select credits.set_package('thirty', 30, 150, 'USD')");
        await Paid(user, "thirty", "2");
        Assert.Equal((0m, 50m), await Books(user));
        await db.Run("select credits.reinstate_purchase($1, $2, 'dispute')", user, purchase);
        // 20 were revoked, 50 still owed, 30 paid: 20 and 30 come back, 50 are struck out.
        Assert.Equal((50m, 0m), await Books(user));
        Assert.Equal(50, (await db.Json("select credits.get_credit_balance($1)", user)).Number("purchased"));
        var refund = await db.Json("select credits.refund_purchase($1, $2)", user, purchase);
        Assert.Equal((50m, 50m), (refund.Number("revoked"), refund.Number("owing")));
        Assert.Equal((0m, 50m), await Books(user));
    }

    [Fact]
    public async Task What_was_held_through_a_dispute_that_was_won_still_finds_room_in_its_grant()
    {
        var user = await db.Account();
        var purchase = await Paid(user, reference: "1");
        var held = await Held(user, 20);
        await db.Run("select credits.refund_purchase($1, $2, p_provider_reference => 'dispute', p_is_dispute => true)", user, purchase);
        Assert.Equal((0m, 100m), await Books(user));
        await Paid(user, reference: "2");
        await db.Run("select credits.reinstate_purchase($1, $2, 'dispute')", user, purchase);
        await db.Run("select credits.release_reservation($1, $2)", user, held);
        Assert.Equal((200m, 0m), await Books(user));
    }

    [Fact]
    public async Task Disputes_and_refunds_around_a_reinstatement_still_add_up_exactly()
    {
        var user = await db.Account();
        await db.Run("select credits.set_package('sevenths', 100, 7, 'USD')");
        var purchase = await Paid(user, "sevenths");
        await db.Run("select credits.refund_purchase($1, $2, 1)", user, purchase);
        await db.Run("select credits.refund_purchase($1, $2, 2, p_provider_reference => 'd', p_is_dispute => true)", user, purchase);
        await db.Run("select credits.refund_purchase($1, $2, 3)", user, purchase);
        await db.Run("select credits.reinstate_purchase($1, $2, 'd')", user, purchase);
        await db.Run("select credits.refund_purchase($1, $2, 1)", user, purchase);
        Assert.Equal("refunded", (await db.Json("select credits.refund_purchase($1, $2)", user, purchase)).Text("status"));
        Assert.Equal((0m, 0m), await Books(user));
    }

    [Theory]
    [InlineData("select credits.create_purchase($1, null, 'stripe')", "p_package_id")]
    [InlineData("select credits.create_purchase($1, 'starter', 'Stripe!')", "p_provider")]
    [InlineData("select credits.create_purchase($1, 'starter', null)", "p_provider")]
    [InlineData("select credits.create_purchase($1, 'starter', 'stripe', '[]')", "p_metadata")]
    [InlineData("select credits.create_purchase($1, 'starter', 'stripe', jsonb_build_object('a', repeat('x', 20000)))", "p_metadata")]
    [InlineData("select credits.create_purchase($1, 'starter', 'stripe', p_idempotency_key => '')", "p_idempotency_key")]
    [InlineData("select credits.create_purchase(null, 'starter', 'stripe') where $1 is not null", "p_user_id")]
    [InlineData("select credits.complete_purchase($1, null, 'x')", "p_purchase_id")]
    [InlineData("select credits.complete_purchase(null, $2, 'x') where $1 is not null", "p_user_id")]
    [InlineData("select credits.complete_purchase($1, $2, null)", "p_provider_reference")]
    [InlineData("select credits.complete_purchase($1, $2, repeat('x', 256))", "p_provider_reference")]
    [InlineData("select credits.complete_purchase($1, $2, 'x', -1)", "p_paid_minor")]
    [InlineData("select credits.complete_purchase($1, $2, 'x', 500, 'usd')", "p_currency")]
    [InlineData("select credits.fail_purchase($1, $2, null)", "p_reason")]
    [InlineData("select credits.fail_purchase($1, null, 'x')", "p_purchase_id")]
    [InlineData("select credits.refund_purchase($1, $2, 0)", "p_amount_minor")]
    [InlineData("select credits.refund_purchase($1, $2, -1)", "p_amount_minor")]
    [InlineData("select credits.refund_purchase($1, $2, 1, '')", "p_reason")]
    [InlineData("select credits.refund_purchase($1, $2, 1, 'r', '')", "p_provider_reference")]
    [InlineData("select credits.refund_purchase($1, $2, 1, 'r', 'x', null)", "p_is_dispute")]
    [InlineData("select credits.refund_purchase($1, $2, 1, 'r', p_is_dispute => true)", "p_provider_reference")]
    [InlineData("select credits.refund_purchase($1, null)", "p_purchase_id")]
    [InlineData("select credits.reinstate_purchase($1, $2, null)", "p_provider_reference")]
    [InlineData("select credits.reinstate_purchase($1, $2, 'x', '')", "p_reason")]
    public async Task Bad_input_is_named_and_changes_nothing(string sql, string argument)
    {
        var user = await db.Account(5);
        var purchase = await Paid(user);
        var before = await db.Snapshot(user);
        var arguments = sql.Contains("$2", StringComparison.Ordinal) ? new object?[] { user, purchase } : [user];
        var error = await db.Fails("UC001", sql, arguments);
        Assert.Equal(argument, JsonDocument.Parse(error.Detail!).RootElement.Text("argument"));
        Assert.Equal(before, await db.Snapshot(user));
    }

    [Theory]
    [InlineData("select credits.complete_purchase($1, $2, 'x')")]
    [InlineData("select credits.fail_purchase($1, $2, 'x')")]
    [InlineData("select credits.refund_purchase($1, $2)")]
    [InlineData("select credits.reinstate_purchase($1, $2, 'x')")]
    public async Task An_unknown_user_or_another_users_purchase_is_an_outcome(string sql)
    {
        var (user, other) = (await db.Account(), await db.Account());
        var purchase = await Paid(user);
        var before = await db.Snapshot(user) + await db.Snapshot(other);
        Assert.Equal("not_found", (await db.Json(sql, other, purchase)).Text("code"));
        Assert.Equal("unknown_account", (await db.Json(sql, Guid.NewGuid(), purchase)).Text("code"));
        Assert.Equal(before, await db.Snapshot(user) + await db.Snapshot(other));
    }

    [Fact]
    public async Task An_account_that_is_not_active_begins_no_purchase_but_gets_what_it_paid_for()
    {
        var user = await db.Account();
        var purchase = await Begun(user);
        await db.Run("update credits.accounts set status = 'suspended' where user_id = $1", user);
        Assert.Equal("account_suspended", (await db.Json("select credits.create_purchase($1, 'starter', 'stripe')", user)).Text("code"));
        Assert.Equal("paid", (await db.Json("select credits.complete_purchase($1, $2, 'pay' || $1)", user, purchase)).Text("status"));
        Assert.Equal("unknown_account", (await db.Json("select credits.create_purchase($1, 'starter', 'stripe')", Guid.NewGuid())).Text("code"));
        Assert.Equal("not_found", (await db.Json("select credits.create_purchase($1, 'no_such', 'stripe')", await db.Account())).Text("code"));
    }

    [Theory]
    [InlineData("select credits.set_package('Bad', 1, 1, 'USD')", "p_package_id")]
    [InlineData("select credits.set_package('fresh', 'NaN', 1, 'USD')", "p_credits")]
    [InlineData("select credits.set_package('fresh', 0, 1, 'USD')", "p_credits")]
    [InlineData("select credits.set_package('fresh', 0.0000001, 1, 'USD')", "p_credits")]
    [InlineData("select credits.set_package('fresh', 1, 0, 'USD')", "p_price_minor")]
    [InlineData("select credits.set_package('fresh', 1, 1, 'usd')", "p_currency")]
    [InlineData("select credits.set_package('fresh', 1, 1, 'US')", "p_currency")]
    [InlineData("select credits.set_package('fresh', 1, 1)", "p_credits")]
    [InlineData("select credits.set_package('fresh', 1, 1, 'USD', '')", "p_package_name")]
    [InlineData("select credits.set_package('fresh', 1, 1, 'USD', p_features => '{}')", "p_features")]
    [InlineData("select credits.set_package('fresh', 1, 1, 'USD', p_features => '[\"a\", 1]')", "p_features")]
    [InlineData("select credits.set_package('fresh', 1, 1, 'USD', p_features => '[[\"a\"]]')", "p_features")]
    public async Task A_package_out_of_range_is_refused_by_name(string sql, string argument)
    {
        var error = await db.Fails("UC001", sql);
        Assert.Equal(argument, JsonDocument.Parse(error.Detail!).RootElement.Text("argument"));
        Assert.Equal(0, await db.Value<long>("select count(*) from credits.credit_packages where package_id = 'fresh'"));
    }

    [Fact]
    public async Task A_package_is_changed_in_what_is_given_and_stays_in_the_rest()
    {
        await db.Run("select credits.set_package('mine', 10.5, 99, 'EUR', 'Mine', '[\"x\"]', p_sort_order => 7)");
        var package = await db.Json("select credits.set_package('mine', p_price_minor => 88)");
        Assert.Equal((10.5m, 88m, "EUR", "Mine", "[\"x\"]", true, 7m), (package.Number("credits"), package.Number("price_minor"), package.Text("currency"),
            package.Text("package_name"), package.Text("features"), package.Flag("is_active"), package.Number("sort_order")));
    }

    [Fact]
    public async Task The_notification_says_what_is_available_once_chat_sessions_are_paid()
    {
        var user = await db.Account();
        await db.Run("select credits.record_chat_time($1, (credits.open_chat_session($1, null, 0) ->> 'session_id')::uuid, 60)", user);
        var purchase = await Begun(user);
        var paid = await db.Json("select credits.complete_purchase($1, $2, 'pay' || $1)", user, purchase);
        Assert.Equal((100m, 99m), (paid.Number("balance_after"), await db.Balance(user)));
        Assert.Equal("100 credits were added; 99 available.", await db.Value<string>("select message from credits.notifications where user_id = $1 and type = 'purchase'", user));
    }

    [Fact]
    public async Task Completing_again_returns_the_same_when_the_grant_is_archived()
    {
        var user = await db.Account();
        var purchase = await Begun(user);
        var paid = await db.Json("select credits.complete_purchase($1, $2, 'pay' || $1)", user, purchase);
        await db.Run("select credits.deduct_credits_for_action($1, 'send_email')", user);
        await db.Run("select credits.deduct_credits_for_action($1, 'send_email')", user);
        await db.Run("select credits.archive_ledger(credits.clock_now())");
        Assert.False(await db.Value<bool>("select exists (select from credits.credit_ledger where user_id = $1 and kind = 'grant')", user));
        var again = await db.Json("select credits.complete_purchase($1, $2, 'pay' || $1)", user, purchase);
        Assert.Equal((true, paid.Number("balance_after"), paid.Number("log_id")), (again.Flag("replayed"), again.Number("balance_after"), again.Number("log_id")));
    }

    private async Task<Guid> Begun(Guid user, string package = "starter", string provider = "stripe") =>
        (await db.Json("select credits.create_purchase($1, $2, $3)", user, package, provider)).GetProperty("purchase_id").GetGuid();

    private async Task<Guid> Paid(Guid user, string package = "starter", string reference = "payment")
    {
        var purchase = await Begun(user, package);
        Assert.True((await db.Json("select credits.complete_purchase($1, $2, $3)", user, purchase, reference + user)).Flag("success"));
        return purchase;
    }

    private async Task<Guid> Held(Guid user, decimal agents) =>
        (await db.Json("select credits.reserve_credits($1, 'create_agent', $2)", user, agents)).GetProperty("reservation_id").GetGuid();

    /// <summary>What can be spent, and what is owed for refunded purchases.</summary>
    private async Task<(decimal Spendable, decimal Debt)> Books(Guid user) => (await db.Balance(user),
        await db.Value<decimal>("select purchase_debt from credits.wallets where user_id = $1 and credit_type = 'credits' and debt = purchase_debt", user));

    private async Task<JsonElement[]> Race(IsolationLevel level, int racers, Func<NpgsqlConnection, int, Task<JsonElement>> step) =>
        await Task.WhenAll(Enumerable.Range(0, racers).Select(async i =>
        {
            await using var connection = await db.Source.OpenConnectionAsync();
            while (true)
            {
                try
                {
                    await using var transaction = await connection.BeginTransactionAsync(level);
                    var outcome = await step(connection, i);
                    await transaction.CommitAsync();
                    return outcome;
                }
                catch (PostgresException e) when (e.SqlState is "40001" or "40P01")
                {
                }
            }
        }));
}

/// <summary>Refunded purchases and the passing of time.</summary>
public sealed class PurchaseTimeTests(TestDatabase db) : IClassFixture<TestDatabase>
{
    [Fact]
    public async Task A_monthly_reset_does_not_pay_what_a_refunded_purchase_left_and_the_next_purchase_does()
    {
        var user = Guid.NewGuid();
        await db.SetClock("2025-01-15 12:00Z");
        await db.Run("select credits.open_account($1, 'free')", user);
        var purchase = await Buy(user, "1");
        await db.Run("select credits.deduct_credits_for_action($1, 'create_agent', 40)", user);
        await db.Run("select credits.refund_purchase($1, $2)", user, purchase);
        Assert.Equal((0m, 100m), await Books(user));
        await db.SetClock("2025-02-16 12:00Z");
        Assert.Equal((100m, 100m), await Books(user));
        await db.Run("select credits.deduct_credits_for_action($1, 'send_email')", user);
        Assert.Equal((99.5m, 100m), await Books(user));
        Assert.Equal(100, await db.Value<decimal>("select purchase_debt from credits.wallets where user_id = $1 and credit_type = 'credits'", user));
        await Buy(user, "2");
        Assert.Equal((99.5m, 0m), await Books(user));
        Assert.Equal(1, await db.Value<long>("select count(*) from credits.notifications where user_id = $1 and type = 'purchase' and updated_at = '2025-02-16 12:00Z'", user));
    }

    [Fact]
    public async Task A_reset_that_is_due_is_applied_before_the_refund_and_a_lapsed_hold_comes_back_first()
    {
        var user = Guid.NewGuid();
        await db.SetClock("2025-01-15 12:00Z");
        await db.Run("select credits.open_account($1, 'free')", user);
        await db.Run("select credits.deduct_credits_for_action($1, 'create_agent', 20)", user);
        var purchase = await Buy(user, "1");
        await db.Run("select credits.reserve_credits($1, 'create_agent', 12)", user);
        await db.SetClock("2025-02-16 12:00Z");
        var refund = await db.Json("select credits.refund_purchase($1, $2)", user, purchase);
        Assert.Equal((100m, 0m), (refund.Number("revoked"), refund.Number("owing")));
        Assert.Equal((100m, 0m), await Books(user));
        Assert.Equal(["grant", "usage", "grant", "hold", "release", "grant", "revocation"],
            await db.Column<string>("select kind from credits.credit_ledger where user_id = $1 and credit_type = 'credits' order by entry_no", user));
    }

    private async Task<Guid> Buy(Guid user, string reference)
    {
        var purchase = (await db.Json("select credits.create_purchase($1, 'starter', 'stripe')", user)).GetProperty("purchase_id").GetGuid();
        await db.Run("select credits.complete_purchase($1, $2, $3)", user, purchase, reference + user);
        return purchase;
    }

    private async Task<(decimal Spendable, decimal Debt)> Books(Guid user)
    {
        var balance = await db.Json("select credits.get_credit_balance($1)", user);
        return (balance.Number("total"), balance.Number("debt"));
    }
}

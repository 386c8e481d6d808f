using System.Data;
using System.Text.Json;
using Npgsql;

namespace CreditDb.Tests.Sql;

/// <summary>What payment providers report, in whatever order and however often, moves each credit once; what cannot be applied is kept.</summary>
public sealed class PaymentEventTests(TestDatabase db) : IClassFixture<TestDatabase>
{
    public static TheoryData<IsolationLevel> Levels => Racing.Levels;

    [Fact]
    public async Task A_payment_completes_its_purchase_and_is_kept_with_what_was_sent()
    {
        var (user, purchase, payment) = await Begun();
        var applied = await db.Json(
            "select credits.apply_payment_event('stripe', $3, 'completed', $1, $2, $4, 500, 'USD', p_payload => '{\"id\": 7}')", user, purchase, "evt " + payment, payment);
        Assert.Equal(("ok", "applied", "", false), (applied.Text("code"), applied.Text("status"), applied.Text("reason"), applied.Flag("replayed")));
        Assert.Equal(100, await db.Balance(user));
        Assert.Equal("{\"id\": 7} true", await db.Value<string>(
            "select payload::text || ' ' || (processed_at is not null) from credits.payment_events where payment_event_id = $1", applied.GetProperty("payment_event_id").GetGuid()));
        var again = await db.Json("select credits.apply_payment_event('stripe', $3, 'completed', $1, $2, $4, 500, 'USD')", user, purchase, "evt " + payment, payment);
        Assert.Equal((true, applied.Text("payment_event_id")), (again.Flag("replayed"), again.Text("payment_event_id")));
        Assert.Equal("superseded", (await Sent("completed", user, purchase, payment, 500)).Text("status"));
        Assert.Equal(100, await db.Balance(user));
    }

    public static TheoryData<string, string, long, decimal> Stories => new()
    {
        { "completed refunded:200 disputed dispute_won", "paid", 200, 60 },
        { "completed refunded:200 refunded:350 refunded:500", "refunded", 500, 0 },
        { "completed refunded:500 disputed dispute_lost", "refunded", 500, 0 },
        { "completed refunded:500 disputed dispute_won", "refunded", 500, 0 },
        { "completed disputed dispute_lost expired", "refunded", 500, 0 },
        { "completed processing failed disputed:900 dispute_won", "paid", 0, 100 },
        { "completed refunded:100 refunded:300 disputed dispute_won", "paid", 300, 40 },
    };

    [Theory]
    [MemberData(nameof(Stories))]
    public async Task Every_order_of_the_same_events_ends_the_same(string story, string status, long refunded, decimal balance)
    {
        foreach (var order in Orders(story.Split(' ')))
        {
            var (user, purchase, payment) = await Begun();
            foreach (var step in order)
            {
                var (kind, amount) = step.Split(':') is [var k, var a] ? (k, long.Parse(a, System.Globalization.CultureInfo.InvariantCulture)) : (step, 500);
                // Only what the checkout reports names the purchase; refunds and disputes name the payment alone.
                var named = kind is "completed" or "processing" or "failed" or "expired";
                await Sent(kind, named ? user : null, named ? purchase : null, kind is "expired" or "failed" ? null : payment, amount);
            }
            Assert.Equal($"{status} {refunded} {string.Join(' ', order)}", $"{await db.Value<string>("select status || ' ' || refunded_minor from credits.credit_purchases where user_id = $1", user)} {string.Join(' ', order)}");
            Assert.Equal((balance, 0m), (await db.Balance(user), await db.Value<decimal>("select debt from credits.wallets where user_id = $1 and credit_type = 'credits'", user)));
            Assert.Equal([], await db.Column<string>("select kind || ' ' || reason from credits.payment_events where provider_reference = $1 and status = 'waiting'", payment));
        }
    }

    [Fact]
    public async Task A_refund_of_what_a_dispute_holds_waits_for_its_end()
    {
        var (user, purchase, payment) = await Begun();
        await Sent("completed", user, purchase, payment, 500);
        await db.Run("select credits.deduct_credits_for_action($1, 'create_agent', 10)", user);
        await Sent("disputed", null, null, payment, 400);
        var refund = await Sent("refunded", null, null, payment, 300);
        Assert.Equal(("waiting", "disputed"), (refund.Text("status"), refund.Text("reason")));
        Assert.Equal(500, await db.Value<long>("select refunded_minor from credits.credit_purchases where user_id = $1", user));
        await Sent("dispute_won", null, null, payment, null);
        Assert.Equal("300 60.000000", await db.Value<string>("select refunded_minor || ' ' || refunded_credits from credits.credit_purchases where user_id = $1", user));
        Assert.Equal("applied", (await Event(refund)).Text("status"));
        // 100 bought, 50 spent, 60 taken back.
        Assert.Equal(-10, await db.Value<decimal>("select balance from credits.wallets where user_id = $1 and credit_type = 'credits'", user));
    }

    [Fact]
    public async Task A_storm_of_replays_from_sixteen_connections_moves_each_credit_once()
    {
        for (var round = 0; round < 5; round++)
        {
            var (user, purchase, payment) = await Begun();
            string[] storm = ["completed", "refunded", "disputed", "dispute_won", "expired"];
            // At READ COMMITTED nobody need repeat anything: not one of these fails.
            var outcomes = await Task.WhenAll(Enumerable.Range(0, 16).Select(async i =>
            {
                await using var connection = await db.Source.OpenConnectionAsync();
                var shuffled = storm.ToArray();
                new Random(16 * round + i).Shuffle(shuffled);
                var mine = new List<JsonElement>();
                foreach (var kind in shuffled)
                    mine.Add(await Send(connection, $"{payment} {kind}", kind, kind is "completed" or "expired" ? user : null, kind is "completed" or "expired" ? purchase : null,
                        kind == "expired" ? null : payment, kind == "refunded" ? 100 : 500));
                return mine;
            }));
            Assert.Equal(5, outcomes.SelectMany(o => o).Count(o => !o.Flag("replayed")));
            Assert.Equal(80, await db.Balance(user));
            Assert.Equal("paid 100", await db.Value<string>("select status || ' ' || refunded_minor from credits.credit_purchases where user_id = $1", user));
            Assert.Equal(1, await db.Value<long>("select count(*) from credits.credit_ledger where user_id = $1 and kind = 'grant'", user));
            Assert.Equal(0, await db.Value<long>("select count(*) from credits.payment_events where provider_reference = $1 and status = 'waiting'", payment));
        }
    }

    [Theory]
    [MemberData(nameof(Levels))]
    public async Task Sixteen_events_of_one_payment_at_once_end_as_one_after_another(IsolationLevel level)
    {
        var (user, purchase, payment) = await Begun();
        string[] kinds = ["completed", "refunded", "disputed", "dispute_lost"];
        var outcomes = await db.Race(16, level, (connection, i) =>
            Send(connection, $"{payment} {i}", kinds[i % 4], kinds[i % 4] == "completed" ? user : null, kinds[i % 4] == "completed" ? purchase : null, payment, kinds[i % 4] == "refunded" ? 300 : 500));
        Assert.All(outcomes, o => Assert.Equal("ok", o.Text("code")));
        Assert.Equal(("refunded 500", 0m), (await db.Value<string>("select status || ' ' || refunded_minor from credits.credit_purchases where user_id = $1", user), await db.Balance(user)));
        Assert.Equal([], await db.Column<string>("select kind || ' ' || coalesce(reason, '') from credits.payment_events where provider_reference = $1 and status = 'waiting'", payment));
    }

    [Fact]
    public async Task One_payment_pays_for_one_purchase_of_one_user_also_at_once()
    {
        var (one, first, payment) = await Begun();
        var (two, second, _) = await Begun();
        var outcomes = await db.Race(16, IsolationLevel.ReadCommitted, (connection, i) => i % 2 == 0
            ? Send(connection, $"{payment} {i}", "completed", one, first, payment, 500)
            : Send(connection, $"{payment} {i}", "completed", two, second, payment, 500));
        Assert.Single(outcomes, o => o.Text("status") == "applied");
        Assert.Equal(8, outcomes.Count(o => o.Text("reason") == "payment_used"));
        Assert.Equal(100, await db.Balance(one) + await db.Balance(two));
    }

    [Fact]
    public async Task A_second_payment_of_a_purchase_is_kept_until_it_is_refunded_and_its_refund_takes_nothing()
    {
        foreach (var order in Permutations(["first", "second", "refund"]))
        {
            var (user, purchase, payment) = await Begun();
            await Sent("completed", user, purchase, payment + " 0", 500);
            foreach (var step in order)
                await (step switch
                {
                    "first" => Sent("completed", user, purchase, payment + " 0", 500),
                    "second" => Sent("completed", user, purchase, payment, 500),
                    _ => Sent("refunded", user, purchase, payment, 500),
                });
            Assert.Equal(100, await db.Balance(user));
            Assert.Equal(["completed refunded", "refunded "], await db.Column<string>(
                "select kind || ' ' || coalesce(reason, '') from credits.payment_events where provider_reference = $1 and status = 'superseded' order by kind", payment));
        }
        var (other, bought, pays) = await Begun();
        await Sent("completed", other, bought, pays, 500);
        Assert.Equal("paid_otherwise", (await Sent("completed", other, bought, pays + " again", 500)).Text("reason"));
        Assert.Equal("not_applied", (await Sent("refunded", null, null, pays + " again", 499)).Text("reason"));
        Assert.Equal("not_applied", (await Sent("disputed", null, null, pays + " again", 500)).Text("reason"));
    }

    [Fact]
    public async Task An_unknown_purchase_is_kept_and_applied_when_an_operator_names_it()
    {
        var (user, purchase, payment) = await Begun();
        var kept = await Sent("completed", null, null, payment, 500);
        var refund = await Sent("refunded", null, null, payment, 100);
        Assert.Equal(("waiting", "unknown_purchase", "not_applied"), (kept.Text("status"), kept.Text("reason"), refund.Text("reason")));
        Assert.Equal("unknown_purchase", (await Sent("completed", Guid.NewGuid(), purchase, payment + " b", 500)).Text("reason"));
        Assert.Equal("unknown_purchase", (await Sent("completed", user, Guid.NewGuid(), payment + " c", 500)).Text("reason"));
        Assert.Equal("unknown_purchase", (await Sent("completed", user, purchase, null, 500)).Text("reason"));
        Assert.Equal("unknown_payment", (await Sent("disputed", null, null, payment + " d", 500)).Text("reason"));
        Assert.Equal(("superseded", ""), ((await Sent("expired", null, null, null, null)).Text("status"), ""));
        var listed = await db.Column<string>("select reason from credits.list_payment_events(p_limit => 1000) where provider_reference like $1 || '%'", payment);
        Assert.Equal(["unknown_payment", "unknown_purchase", "unknown_purchase", "not_applied", "unknown_purchase"], listed);

        var retried = await db.Json("select credits.retry_payment_event($1)", Id(kept));
        Assert.Equal(("waiting", "unknown_purchase"), (retried.Text("status"), retried.Text("reason")));
        var named = await db.Json("select credits.retry_payment_event($1, $2, $3)", Id(kept), user, purchase);
        Assert.Equal(("applied", false), (named.Text("status"), named.Flag("replayed")));
        Assert.Equal(80, await db.Balance(user));
        Assert.True((await db.Json("select credits.retry_payment_event($1, $2, $3)", Id(kept), user, purchase)).Flag("replayed"));
        Assert.Equal("not_found", (await db.Json("select credits.retry_payment_event(gen_random_uuid())")).Text("code"));
    }

    [Fact]
    public async Task Wrong_money_or_the_wrong_provider_grants_nothing_and_is_kept()
    {
        var (user, purchase, payment) = await Begun();
        var before = await db.Snapshot(user);
        foreach (var (amount, currency) in new (long?, string?)[] { (499, "USD"), (501, "USD"), (500, "EUR"), (null, "USD"), (500, null) })
            Assert.Equal("payment_differs", (await Sent("completed", user, purchase, payment, amount, currency)).Text("reason"));
        Assert.Equal("unknown_purchase", (await db.Json("select credits.apply_payment_event('sandbox', $3, 'completed', $1, $2, $3, 500, 'USD')", user, purchase, payment)).Text("reason"));
        Assert.Equal(before, await db.Snapshot(user));
        await Sent("completed", user, purchase, payment, 500);
        Assert.Equal("payment_differs", (await Sent("refunded", null, null, payment, 501)).Text("reason"));
        Assert.Equal("payment_differs", (await Sent("refunded", null, null, payment, 100, "EUR")).Text("reason"));
        Assert.Equal("by_hand", (await Sent("refund_failed", null, null, payment, 100)).Text("reason"));
        Assert.Equal(100, await db.Balance(user));
    }

    [Fact]
    public async Task A_payment_that_would_lift_the_balance_above_its_limit_is_kept()
    {
        var user = await db.Account();
        await db.Run("select credits.set_package('vast', 1000000000, 500, 'USD')");
        for (var i = 0; i < 2; i++)
            await db.Run("select credits.import_balance($1, null, 0)", await db.Account());
        var purchase = (await db.Json("select credits.create_purchase($1, 'vast', 'stripe')", user)).GetProperty("purchase_id").GetGuid();
        db.BooksAreDamaged = true;
        await db.Run("update credits.wallets set balance = 9999999999999 where user_id = $1", user);
        Assert.Equal("balance_limit", (await Sent("completed", user, purchase, Guid.NewGuid().ToString("N"), 500)).Text("reason"));
        await db.Run("update credits.wallets set balance = 0 where user_id = $1", user);
        db.BooksAreDamaged = false;
    }

    [Fact]
    public async Task A_checkout_that_expired_fails_its_purchase_and_a_late_payment_still_completes_it()
    {
        var (user, purchase, payment) = await Begun();
        Assert.Equal("applied", (await Sent("processing", user, purchase, payment, null)).Text("status"));
        Assert.Equal("applied", (await Sent("expired", user, purchase, null, null)).Text("status"));
        Assert.Equal("failed not paid in time", await db.Value<string>("select status || ' ' || failure_reason from credits.credit_purchases where user_id = $1", user));
        Assert.Equal("superseded", (await Sent("failed", user, purchase, null, null)).Text("status"));
        Assert.Equal("applied", (await Sent("completed", user, purchase, payment, 500)).Text("status"));
        Assert.Equal("superseded", (await Sent("expired", user, purchase, null, null)).Text("status"));
        Assert.Equal(100, await db.Balance(user));
    }

    [Fact]
    public async Task What_was_completed_and_refunded_by_hand_is_not_booked_again()
    {
        var (user, purchase, payment) = await Begun();
        await db.Run("select credits.complete_purchase($1, $2, $3)", user, purchase, payment);
        await db.Run("select credits.refund_purchase($1, $2, 100)", user, purchase);
        Assert.Equal("superseded", (await Sent("refunded", user, purchase, payment, 100)).Text("status"));
        Assert.Equal("superseded", (await Sent("completed", user, purchase, payment, 500)).Text("status"));
        Assert.Equal("applied", (await Sent("refunded", null, null, payment, 150)).Text("status"));
        Assert.Equal(70, await db.Balance(user));
        // Another purchase of the user cannot be completed by it either.
        var (_, other) = await Purchase(user);
        Assert.Equal("payment_used", (await Sent("completed", user, other, payment, 500)).Text("reason"));
    }

    [Theory]
    [InlineData("stripe")]
    [InlineData("manual")]
    public async Task A_payment_that_completed_a_purchase_by_hand_pays_for_no_other_one(string provider)
    {
        var (one, other) = (await db.Account(), await db.Account());
        var (first, second, payment) = (await Purchase(one, provider), await Purchase(other, provider), $"pi_{Guid.NewGuid():N}");
        await db.Run("select credits.complete_purchase($1, $2, $3)", one, first.Purchase, payment);
        Task<JsonElement> Say(string kind, Guid? user, Guid? purchase, long amount) => db.Json(
            "select credits.apply_payment_event($1, $2, $3, $4::uuid, $5::uuid, $6, $7, 'USD')", provider, Guid.NewGuid().ToString(), kind, user, purchase, payment, amount);
        var reported = await Say("completed", other, second.Purchase, 500);
        Assert.Equal(("waiting", "payment_used"), (reported.Text("status"), reported.Text("reason")));
        Assert.Equal("superseded", (await Say("completed", one, first.Purchase, 500)).Text("status"));
        var refund = await Say("refunded", null, null, 200);
        Assert.Equal(("applied", one.ToString()), (refund.Text("status"), refund.Text("user_id")));
        Assert.Equal((60m, 0m), (await db.Balance(one), await db.Balance(other)));
    }

    [Fact]
    public async Task A_payment_that_was_reported_is_refused_by_hand_for_another_users_purchase_who_learns_nothing()
    {
        var (one, first, payment) = await Begun();
        var (two, second, _) = await Begun();
        await Sent("completed", one, first, payment, 500);
        var before = await db.Snapshot(two);
        var error = await db.Fails("UC333", "select credits.complete_purchase($1, $2, $3, 500, 'USD')", two, second, payment);
        Assert.DoesNotContain(one.ToString(), error.ToString(), StringComparison.Ordinal);
        Assert.DoesNotContain(first.ToString(), error.Detail, StringComparison.Ordinal);
        Assert.Equal(before, await db.Snapshot(two));
        Assert.True((await db.Json("select credits.complete_purchase($1, $2, $3)", one, first, payment)).Flag("replayed"));
    }

    [Theory]
    [MemberData(nameof(Levels))]
    public async Task One_payment_by_hand_and_by_the_provider_at_once_pays_for_one_purchase(IsolationLevel level)
    {
        for (var round = 0; round < 5; round++)
        {
            var (one, first, payment) = await Begun();
            var (two, second, _) = await Begun();
            var outcomes = await db.Race(16, level, (connection, i) => (i % 4) switch
            {
                0 => Send(connection, $"{payment} {i}", "completed", one, first, payment, 500),
                1 => Send(connection, $"{payment} {i}", "completed", two, second, payment, 500),
                2 => connection.Json("select credits.complete_purchase($1, $2, $3)", one, first, payment),
                _ => connection.Json("select credits.complete_purchase($1, $2, $3)", two, second, payment),
            });
            var payer = await db.Value<Guid>("select payer_id from credits.payments where provider = 'stripe' and provider_reference = $1", payment);
            Assert.Equal((payer == one ? 100 : 0, payer == two ? 100 : 0), ((int)await db.Balance(one), (int)await db.Balance(two)));
            Assert.Equal((4, 4), (outcomes.Count(o => o.Text("code") == "UC333"), outcomes.Count(o => o.TryGetProperty("reason", out _) && o.Text("reason") == "payment_used")));
            await Sent("refunded", null, null, payment, 500);
            Assert.Equal((0m, 0m), (await db.Balance(one), await db.Balance(two)));
        }
    }

    [Fact]
    public async Task What_had_been_reported_of_a_payment_is_applied_when_it_is_completed_by_hand()
    {
        var (user, purchase, payment) = await Begun();
        await Sent("completed", null, null, payment, 500);
        await Sent("refunded", null, null, payment, 100);
        var paid = await db.Json("select credits.complete_purchase($1, $2, $3)", user, purchase, payment);
        Assert.Equal(("paid", 100m), (paid.Text("status"), paid.Number("balance_after")));
        Assert.Equal(80, await db.Balance(user));
        Assert.Equal(["completed superseded", "refunded applied"], await db.Column<string>("select kind || ' ' || status from credits.payment_events where provider_reference = $1 order by kind", payment));
    }

    /// <summary>Reports after completed, and how much of the price stays refunded: disputes are named a and b.</summary>
    public static TheoryData<string, long> Disputes => new()
    {
        { "disputed:300:a disputed:300:b refunded:200 dispute_won:0:a", 500 },
        { "disputed:300:a disputed:300:b refunded:200 dispute_won:0:a dispute_won:0:b", 200 },
        { "disputed:300:a disputed:300:b dispute_won:0:a dispute_lost:300:b", 300 },
        { "disputed:300:a disputed:300:b refunded:200 dispute_won:0:a dispute_lost:300:b", 500 },
        { "disputed:400:a disputed:200:b refunded:100 dispute_won:0:a dispute_lost:200:b", 300 },
        { "disputed:300:a disputed:300:b refunded:300 dispute_lost:300:a dispute_lost:300:b", 500 },
        { "disputed:300:a disputed:300:b refunded:300 dispute_lost:300:a dispute_won:0:b", 500 },
        { "disputed:300:a disputed:300:a disputed:300:b dispute_won:0:a dispute_won:0:a", 300 },
    };

    [Theory]
    [MemberData(nameof(Disputes))]
    public async Task Several_disputes_and_refunds_of_a_payment_take_the_same_in_every_order(string story, long refunded)
    {
        foreach (var order in Orders(story.Split(' ')))
        {
            var (user, purchase, payment) = await Begun();
            await Sent("completed", user, purchase, payment, 500);
            await using (var connection = await db.Source.OpenConnectionAsync(TestContext.Current.CancellationToken))
            {
                foreach (var step in order.Select(s => s.Split(':')))
                    await connection.Run("select credits.apply_payment_event('stripe', $1, $2, null, null, $3, $4, 'USD', $5)",
                        Guid.NewGuid().ToString(), step[0], payment, long.Parse(step[1], System.Globalization.CultureInfo.InvariantCulture), step.Length > 2 ? $"{step[2]} {payment}" : null);
            }
            var ended = await db.Value<string>("select refunded_minor || ' ' || trim_scale(refunded_credits) from credits.credit_purchases where user_id = $1", user);
            var waiting = await db.Column<string>("select kind || ' ' || reason from credits.payment_events where provider_reference = $1 and status = 'waiting'", payment);
            Assert.Equal($"{refunded} {refunded / 5} {100 - (refunded / 5)}  after {string.Join(' ', order)}", $"{ended} {await db.Balance(user):0} {string.Join(',', waiting)} after {string.Join(' ', order)}");
        }
    }

    [Fact]
    public async Task A_dispute_waits_for_the_other_one_also_where_that_is_reinstated_by_hand()
    {
        var (user, purchase, payment) = await Begun();
        await Sent("completed", user, purchase, payment, 500);
        await db.Run("select credits.refund_purchase($1, $2, 300, p_provider_reference => $3, p_is_dispute => true)", user, purchase, "a " + payment);
        var second = await Sent("disputed", null, null, payment, 400);
        Assert.Equal(("waiting", "disputed"), (second.Text("status"), second.Text("reason")));
        await db.Run("select credits.reinstate_purchase($1, $2, $3)", user, purchase, "a " + payment);
        Assert.Equal("applied", (await Event(second)).Text("status"));
        Assert.Equal(20, await db.Balance(user));
    }

    [Fact]
    public async Task A_refund_that_failed_is_reinstated_by_an_operator_and_the_next_one_takes_the_credits_again()
    {
        var (user, purchase, payment) = await Begun();
        await Sent("completed", user, purchase, payment, 500);
        await Sent("refunded", null, null, payment, 200);
        await Sent("refunded", null, null, payment, 500);
        var refunds = await db.Column<string>("select provider_reference from credits.credit_purchase_refunds where user_id = $1 order by refund_no", user);
        Assert.Equal([payment + " refund 1", payment + " refund 2"], refunds);
        var before = await db.Snapshot(user);
        await db.Fails("UC335", "select credits.reinstate_purchase($1, $2, $3)", user, purchase, refunds[1]);
        Assert.Equal(before, await db.Snapshot(user));

        var failed = await Sent("refund_failed", null, null, payment, 300);
        Assert.Equal(("waiting", "by_hand", 0m), (failed.Text("status"), failed.Text("reason"), await db.Balance(user)));
        var reinstated = await Task.WhenAll(Enumerable.Range(0, 8).Select(_ => db.Json("select credits.reinstate_purchase($1, $2, $3, 'the card was closed')", user, purchase, refunds[1])));
        Assert.Single(reinstated, r => !r.Flag("replayed"));
        Assert.All(reinstated, r => Assert.Equal(("paid", 200m, 40m, true), (r.Text("status"), r.Number("refunded_minor"), r.Number("refunded_credits"), r.Flag("reinstated"))));
        Assert.Equal(60, await db.Balance(user));

        // Of the 500 the provider has given back 200; then 300, and then the rest.
        Assert.Equal(("applied", 40m), ((await Sent("refunded", null, null, payment, 300)).Text("status"), await db.Balance(user)));
        Assert.Equal("superseded", (await Sent("refunded", null, null, payment, 300)).Text("status"));
        Assert.Equal(("applied", 0m), ((await Sent("refunded", null, null, payment, 500)).Text("status"), await db.Balance(user)));
    }

    [Fact]
    public async Task A_refund_that_failed_and_was_given_otherwise_is_dismissed_and_stands()
    {
        var (user, purchase, payment) = await Begun();
        await Sent("completed", user, purchase, payment, 500);
        await Sent("refunded", null, null, payment, 500);
        await db.Run("select credits.dismiss_payment_event($1, 'paid back by bank transfer')", Id(await Sent("refund_failed", null, null, payment, 500)));
        Assert.Equal("superseded", (await Sent("refunded", null, null, payment, 500)).Text("status"));
        Assert.Equal((0m, 0m), (await db.Balance(user), await db.Value<decimal>("select debt from credits.wallets where user_id = $1 and credit_type = 'credits'", user)));
    }

    [Fact]
    public async Task An_operator_dismisses_what_was_settled_elsewhere()
    {
        var payment = Guid.NewGuid().ToString("N");
        var kept = await Sent("disputed", null, null, payment, 500);
        var dismissed = await db.Json("select credits.dismiss_payment_event($1, 'another shop''s')", Id(kept));
        Assert.Equal(("dismissed", "another shop's"), (dismissed.Text("status"), dismissed.Text("reason")));
        Assert.True((await db.Json("select credits.dismiss_payment_event($1, 'again')", Id(kept))).Flag("replayed"));
        Assert.Equal("dismissed", (await db.Json("select credits.retry_payment_event($1)", Id(kept))).Text("status"));
        Assert.Equal(0, await db.Value<long>("select count(*) from credits.list_payment_events(p_limit => 1000) where provider_reference = $1", payment));
        Assert.Equal(1, await db.Value<long>("select count(*) from credits.list_payment_events(false, 1000) where provider_reference = $1", payment));
        Assert.Equal("not_found", (await db.Json("select credits.dismiss_payment_event(gen_random_uuid(), 'x')")).Text("code"));
        await db.Fails("UC001", "select credits.dismiss_payment_event($1, '')", Id(kept));
        await db.Fails("UC001", "select credits.dismiss_payment_event(null, 'x')");
        await db.Fails("UC001", "select credits.retry_payment_event(null)");
        await db.Fails("UC001", "select credits.retry_payment_event($1, $1)", Id(kept));
    }

    [Fact]
    public async Task Pages_of_events_and_of_purchases_follow_each_other_without_gap()
    {
        var user = await db.Account();
        var purchases = new List<Guid>();
        for (var i = 0; i < 7; i++)
            purchases.Add((await Purchase(user)).Purchase);
        var read = new List<Guid>();
        object? at = null, id = null;
        while (true)
        {
            var page = (await db.Json("select coalesce(jsonb_agg(p), '[]') from credits.list_purchases($1, 3, $2::timestamptz, $3::uuid) p", user, at, id)).EnumerateArray().ToList();
            if (page.Count == 0)
                break;
            read.AddRange(page.Select(p => p.GetProperty("purchase_id").GetGuid()));
            (at, id) = (page[^1].Text("created_at"), page[^1].Text("purchase_id"));
        }
        Assert.Equal(purchases.AsEnumerable().Reverse(), read);
        var events = new List<string>();
        for (var i = 0; i < 5; i++)
            events.Add((await Sent("disputed", null, null, $"page {user}", 1)).Text("payment_event_id"));
        var first = (await db.Json("select jsonb_agg(e) from credits.list_payment_events(true, 3) e")).EnumerateArray().ToList();
        var second = (await db.Json("select jsonb_agg(e) from credits.list_payment_events(true, 2, $1::timestamptz, $2::uuid) e", first[^1].Text("received_at"), first[^1].Text("payment_event_id"))).EnumerateArray();
        Assert.Equal(events.AsEnumerable().Reverse(), first.Concat(second).Select(e => e.Text("payment_event_id")));
        Assert.Equal([purchases[2]], await db.Column<Guid>("select purchase_id from credits.list_purchases($1, p_purchase_id => $2)", user, purchases[2]));
        Assert.Equal(0, await db.Value<long>("select count(*) from credits.list_purchases($1, p_purchase_id => $2)", await db.Account(), purchases[2]));
        foreach (var sql in new[] { "credits.list_purchases(null)", "credits.list_purchases($1, 0)", "credits.list_purchases($1, 5, now())", "credits.list_payment_events(null)", "credits.list_payment_events(true, 1001)", "credits.list_payment_events(true, 5, now())" })
            await db.Fails("UC001", $"select * from {sql} where $1::uuid is not null", user);
    }

    [Fact]
    public async Task A_purchase_keeps_the_first_checkout_it_is_given()
    {
        var (user, purchase, payment) = await Begun();
        var kept = await Task.WhenAll(Enumerable.Range(0, 8).Select(i => db.Json("select credits.keep_checkout($1, $2, $3, $4)", user, purchase, $"cs {i}", $"https://pay.example/{i}")));
        Assert.Single(kept.Select(k => k.Text("checkout_url")).Distinct());
        Assert.Single(kept, k => !k.Flag("replayed"));
        await Sent("completed", user, purchase, payment, 500);
        Assert.Equal("", (await db.Json("select credits.keep_checkout($1, $2, 'cs', 'x')", user, purchase)).Text("checkout_url"));
        Assert.Equal("not_found", (await db.Json("select credits.keep_checkout($1, gen_random_uuid(), 'cs', 'x')", user)).Text("code"));
        Assert.Equal("unknown_account", (await db.Json("select credits.keep_checkout(gen_random_uuid(), $1, 'cs', 'x')", purchase)).Text("code"));
        await db.Refuses(user, "p_checkout_url", "select credits.keep_checkout($1, $2, 'cs', '')", user, purchase);
        await db.Refuses(user, "p_checkout_reference", "select credits.keep_checkout($1, $2, null, 'x')", user, purchase);
    }

    [Fact]
    public async Task An_event_too_long_to_store_is_cut_and_applied()
    {
        var (user, purchase, payment) = await Begun();
        await db.Run("select credits.apply_payment_event('stripe', $3, 'completed', $1, $2, $3, 500, 'USD', p_payload => jsonb_build_object('a', repeat('x', 100000)))", user, purchase, payment);
        Assert.Equal(100, await db.Balance(user));
        Assert.Equal(10000, await db.Value<int>("select length(payload ->> 'truncated') from credits.payment_events where event_id = $1", payment));
    }

    [Fact]
    public async Task What_was_reported_of_a_user_is_erased_with_the_users_data()
    {
        var (user, purchase, payment) = await Begun();
        await db.Run("select credits.apply_payment_event('stripe', $3, 'completed', $1, $2, $3, 500, 'USD', p_customer_reference => 'cus', p_payment_method => 'pm', p_payload => '{\"email\": \"a@b\"}')", user, purchase, payment);
        await db.Run("select credits.keep_checkout($1, $2, 'cs', 'https://x')", user, purchase);
        await db.Run("select credits.set_top_up($1, 'stripe', true, 10, 'starter', 500)", user);
        await db.Run("select credits.erase_user_data($1)", user);
        Assert.Equal("{} ", await db.Value<string>("select payload::text || ' ' || concat(customer_reference, payment_method) from credits.payment_events where event_id = $1", payment));
        var topUp = await db.Json("select credits.get_top_up($1, 'stripe')", user);
        Assert.Equal(("off", false), (topUp.Text("status"), topUp.Flag("has_payment_method")));
        // The payment is still known: neither another user nor a replay is paid by it.
        Assert.True((await db.Json("select credits.apply_payment_event('stripe', $3, 'completed', $1, $2, $3, 500, 'USD')", user, purchase, payment)).Flag("replayed"));
    }

    [Fact]
    public async Task What_names_no_user_is_erased_with_the_user_whose_payment_it_is()
    {
        var (user, purchase, payment) = await Begun();
        const string Report = "select credits.apply_payment_event('stripe', $1, $2, null, $3::uuid, $4, 500, 'USD', p_failure_reason => $5, p_payload => '{\"email\": \"a@b\"}')";
        // Of a payment that nobody knew yet; of a purchase, without its user; and of somebody else's.
        await db.Run(Report, "early " + payment, "failed", null, payment, "the card of A. Person was declined");
        await db.Run(Report, "checkout " + payment, "expired", purchase, null, null);
        await db.Run(Report, "foreign " + payment, "failed", null, payment + "0", "other");
        Assert.Equal("applied", (await Sent("completed", user, purchase, payment, 500)).Text("status"));
        var stranger = await db.Account();
        Assert.Equal("payment_used", (await Sent("completed", stranger, (await Purchase(stranger)).Purchase, payment, 500)).Text("reason"));
        await db.Run("update credits.payment_events set payload = '{\"email\": \"a@b\"}' where payer_id = $1", stranger);

        // One that was completed by hand, and reported without a name.
        var (byHand, second) = (await Purchase(user), $"pi_{Guid.NewGuid():N}");
        await db.Run(Report, "hand " + payment, "failed", null, second, "declined");
        await db.Run("select credits.complete_purchase($1, $2, $3)", user, byHand.Purchase, second);

        await db.Run("select credits.erase_user_data($1)", user);
        Assert.Equal(["foreign " + payment], await db.Column<string>(
            "select event_id from credits.payment_events where (provider_reference = any ($1) or payer_id = $2 or purchase_id = $3) and (payload <> '{}' or failure_reason is not null) order by event_id",
            new[] { payment, payment + "0", second }, user, purchase));
    }

    [Fact]
    public async Task Erasing_while_an_event_is_repeated_ends_well()
    {
        var (user, purchase, payment) = await Begun();
        foreach (var id in new[] { "first", "second" })
            await Kept(id);

        // The repeat has its own event and waits for the wallet; the erasure must not be at the other event already.
        var ct = TestContext.Current.CancellationToken;
        await using var holder = await db.Source.OpenConnectionAsync(ct);
        await using var held = await holder.BeginTransactionAsync(ct);
        await holder.Run("select from credits.wallets where user_id = $1 for no key update", user);
        var repeat = Kept("second");
        await Waits(1);
        var erasure = db.Json("select credits.erase_user_data($1)", user);
        await Waits(2);
        await held.RollbackAsync(ct);
        await Task.WhenAll(repeat, erasure);
        Assert.Equal(0, await db.Value<long>("select count(*) from credits.payment_events where payer_id = $1 and payload <> '{}'", user));

        Task<JsonElement> Kept(string id) => db.Json(
            "select credits.apply_payment_event('stripe', $3, 'completed', $1, $2, $4, 499, 'USD', p_payload => '{\"email\": \"a@b\"}')", user, purchase, $"{id} {payment}", payment);
        Task Waits(long count) => Eventually.TrueAsync(
            async () => await db.Value<long>("select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()") == count, "nobody waits");
    }

    [Theory]
    [MemberData(nameof(Levels))]
    public async Task Erasures_and_events_from_sixteen_connections_deadlock_nowhere_and_leave_nothing(IsolationLevel level)
    {
        // Several rounds, as not every one meets the order that once deadlocked.
        var deadlocks = 0;
        for (var round = 0; round < 5; round++)
        {
            var user = await db.Account();
            var begun = new List<(Guid Purchase, string Payment)>();
            for (var n = 0; n < 4; n++)
                begun.Add(((await Purchase(user)).Purchase, $"pi_{Guid.NewGuid():N}"));
            await db.Race(16, level, (connection, i) => Counted(Done(connection, i)));
            async Task<JsonElement> Done(NpgsqlConnection connection, int i)
            {
                if (i % 4 == 0)
                    return await connection.Json("select credits.erase_user_data($1)", user);
                var (purchase, payment) = begun[i % 3];
                // Nameless ones, ones that wait, ones that are applied; each from several connections.
                var (kind, amount, named) = (i / 3 % 3) switch { 0 => ("completed", 500L, true), 1 => ("completed", 499L, true), _ => ("refunded", 100L, false) };
                return await connection.Json(
                    "select credits.apply_payment_event('stripe', $1, $2, $3::uuid, $4::uuid, $5, $6::bigint, 'USD', p_payload => '{\"email\": \"a@b\"}')",
                    $"{kind} {amount} {payment}", kind, named ? user : null, named ? purchase : null, payment, amount);
            }

            await db.Run("select credits.erase_user_data($1)", user);
            Assert.Equal(0, await db.Value<long>("select count(*) from credits.payment_events where provider_reference = any ($1) and payload <> '{}'", [begun.Select(b => b.Payment).ToArray()]));
        }

        Assert.Equal(0, deadlocks);

        async Task<JsonElement> Counted(Task<JsonElement> call)
        {
            try
            {
                return await call;
            }
            catch (PostgresException e) when (e.SqlState == PostgresErrorCodes.DeadlockDetected)
            {
                Interlocked.Increment(ref deadlocks);
                throw;
            }
        }
    }

    [Fact]
    public async Task An_erasure_that_finds_somebody_at_an_event_of_the_user_is_to_be_repeated_rather_than_leave_it()
    {
        var ct = TestContext.Current.CancellationToken;
        var (user, later) = (await db.Account(), await db.NewCreditType("later"));
        await db.Run("select credits.grant_credits($1, 1, 'purchased', p_credit_type => $2)", user, later);
        var (purchase, payment) = ((await Purchase(user)).Purchase, $"pi_{Guid.NewGuid():N}");
        var waiting = (await db.Json(
            "select credits.apply_payment_event('stripe', $1, 'refund_failed', p_provider_reference => $2, p_failure_reason => 'card of Ada', p_payload => '{\"email\": \"a@b\"}')",
            "failed " + payment, payment)).GetProperty("payment_event_id").GetGuid();

        // The event becomes the user's while the erasure waits, at its first wallet and then at its last one.
        await using var last = await db.Source.OpenConnectionAsync(ct);
        await using var lastHeld = await last.BeginTransactionAsync(ct);
        await last.Run("select from credits.wallets where user_id = $1 and credit_type = $2 for no key update", user, later);
        await using var first = await db.Source.OpenConnectionAsync(ct);
        await using var firstHeld = await first.BeginTransactionAsync(ct);
        await first.Run("select credits.apply_payment_event('stripe', $1, 'completed', $2, $3, $4, 500, 'USD')", "paid " + payment, user, purchase, payment);
        var erasure = db.Fails("40001", "select credits.erase_user_data($1)", user);
        await Eventually.TrueAsync(async () => await db.Value<long>("select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()") == 1, "nobody waits");
        await firstHeld.CommitAsync(ct);
        await using var operatorAt = await db.Source.OpenConnectionAsync(ct);
        await using var dismissal = await operatorAt.BeginTransactionAsync(ct);
        await operatorAt.Run("select credits.dismiss_payment_event($1, 'by hand')", waiting);
        await lastHeld.RollbackAsync(ct);
        await erasure;
        await dismissal.CommitAsync(ct);

        await db.Run("select credits.erase_user_data($1)", user);
        Assert.Equal("{} dismissed", await db.Value<string>("select payload || coalesce(failure_reason, ' ') || status from credits.payment_events where payment_event_id = $1", waiting));
    }

    [Theory]
    [InlineData("'Stripe', 'e', 'completed'", "p_provider")]
    [InlineData("null, 'e', 'completed'", "p_provider")]
    [InlineData("'stripe', '', 'completed'", "p_event_id")]
    [InlineData("'stripe', null, 'completed'", "p_event_id")]
    [InlineData("'stripe', 'e', 'paid'", "p_kind")]
    [InlineData("'stripe', 'e', null", "p_kind")]
    [InlineData("'stripe', 'e', 'completed', p_provider_reference => ''", "p_provider_reference")]
    [InlineData("'stripe', 'e', 'completed', p_amount_minor => -1", "p_amount_minor")]
    [InlineData("'stripe', 'e', 'completed', p_currency => 'usd'", "p_currency")]
    [InlineData("'stripe', 'e', 'completed', p_refund_reference => ''", "p_refund_reference")]
    [InlineData("'stripe', 'e', 'completed', p_failure_reason => repeat('x', 256)", "p_failure_reason")]
    [InlineData("'stripe', 'e', 'completed', p_customer_reference => ''", "p_customer_reference")]
    [InlineData("'stripe', 'e', 'completed', p_payment_method => ''", "p_payment_method")]
    public async Task A_malformed_event_is_refused_by_name(string arguments, string argument)
    {
        var error = await db.Fails("UC001", $"select credits.apply_payment_event({arguments})");
        Assert.Equal(argument, JsonDocument.Parse(error.Detail!).RootElement.Text("argument"));
        Assert.Equal(0, await db.Value<long>("select count(*) from credits.payment_events where event_id = 'e'"));
    }

    private static Guid Id(JsonElement e) => e.GetProperty("payment_event_id").GetGuid();

    private Task<JsonElement> Event(JsonElement e) => db.Json("select to_jsonb(e) from credits.payment_events e where payment_event_id = $1", Id(e));

    private async Task<(Guid User, Guid Purchase, string Payment)> Begun()
    {
        var (user, purchase) = await Purchase(await db.Account());
        return (user, purchase, $"pi_{Guid.NewGuid():N}");
    }

    private async Task<(Guid User, Guid Purchase)> Purchase(Guid user, string provider = "stripe") =>
        (user, (await db.Json("select credits.create_purchase($1, 'starter', $2)", user, provider)).GetProperty("purchase_id").GetGuid());

    private async Task<JsonElement> Sent(string kind, Guid? user, Guid? purchase, string? payment, long? amount, string? currency = "USD")
    {
        await using var connection = await db.Source.OpenConnectionAsync();
        return await Send(connection, Guid.NewGuid().ToString(), kind, user, purchase, payment, amount, currency);
    }

    private static Task<JsonElement> Send(
        NpgsqlConnection connection, string id, string kind, Guid? user, Guid? purchase, string? payment, long? amount, string? currency = "USD") => connection.Json(
        "select credits.apply_payment_event('stripe', $1, $2, $3::uuid, $4::uuid, $5, $6::bigint, $7, $8)",
        id, kind, user, purchase, payment, amount, currency, kind.StartsWith("dispute", StringComparison.Ordinal) ? "du " + payment : null);

    /// <summary>All orders of a few events; of many, every fourth, another one each run. CREDITDB_PROPERTY_SEQUENCES=1000 takes all of them.</summary>
    private static IEnumerable<string[]> Orders(string[] of)
    {
        var all = Permutations(of).ToList();
        var step = all.Count <= 24 || Model.ModelTests.Setting("CREDITDB_PROPERTY_SEQUENCES", 0) >= 1000 ? 1 : 4;
        var first = Random.Shared.Next(step);
        return all.Where((_, i) => i % step == first);
    }

    private static IEnumerable<string[]> Permutations(string[] of) => of.Length <= 1
        ? [of]
        : of.SelectMany((first, i) => Permutations([.. of[..i], .. of[(i + 1)..]]).Select(rest => (string[])[first, .. rest]));
}

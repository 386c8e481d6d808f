using System.Data;
using System.Text.Json;

namespace CreditDb.Tests.Sql;

/// <summary>Holds: reserved, extended, committed, released, lapsed. What is held is nobody's to spend, and goes back where it came from.</summary>
public sealed class ReservationTests(TestDatabase db) : IClassFixture<TestDatabase>
{
    private const int Racers = 10;
    private const string Reserve = "select credits.reserve_credits($1, 'prompt_formatting', $2, $3::interval)";
    private const string Commit = "select credits.commit_reservation($1, $2, $3)";
    private const string Release = "select credits.release_reservation($1, $2)";

    public static TheoryData<IsolationLevel> Levels => Racing.Levels;

    [Fact]
    public async Task What_is_held_cannot_be_spent_and_the_balance_says_so()
    {
        var user = await db.Account(10);
        var held = await Hold(user, 8);
        Assert.Equal(("ok", 8m, 10m, 2m), (held.Text("code"), held.Number("credits_held"), held.Number("balance_before"), held.Number("balance_after")));
        var balance = await db.Json("select credits.get_credit_balance($1)", user);
        Assert.Equal((2m, 2m, 8m), (balance.Number("total"), balance.Number("purchased"), balance.Number("held")));
        var declined = await db.Json("select credits.deduct_credits_for_action($1, 'create_agent')", user);
        Assert.Equal(("insufficient_credits", 2m), (declined.Text("code"), declined.Number("available")));
        Assert.Equal("insufficient_credits", (await Hold(user, 3)).Text("code"));
        Assert.Equal("insufficient_credits", (await db.Json("select credits.adjust_credits($1, -3, 'correction')", user)).Text("code"));
        Assert.Equal("insufficient_credits", (await db.Json("select credits.can_perform_action($1, 'create_agent')", user)).Text("code"));
    }

    [Theory]
    [InlineData(7, "promotional 4, trial 2, purchased 1", "promotional 0, trial 0, purchased 9")]
    [InlineData(5, "promotional 4, trial 1", "promotional 0, trial 1, purchased 10")]
    [InlineData(4, "promotional 4", "promotional 0, trial 2, purchased 10")]
    [InlineData(9, "promotional 4, trial 2, purchased 1, purchased 2", "promotional 0, trial 0, purchased 7")]
    public async Task A_commit_keeps_what_was_drawn_first_and_gives_the_rest_back_or_draws_more(int quantity, string used, string left)
    {
        var user = await ThreeGrants();
        var id = Id(await Hold(user, 7));
        Assert.Equal("promotional 0, trial 0, purchased 9", string.Join(", ", await db.Grants(user)));
        var result = await db.Json("select credits.commit_reservation($1, $2, $3, '{\"model\": \"m\"}')", user, id, (decimal)quantity);
        Assert.Equal(("ok", (decimal)quantity, 16m - quantity, 0m), (result.Text("code"), result.Number("credits_deducted"), result.Number("balance_after"), await Held(user)));
        Assert.Equal(used, await db.Allocations(user, result.Number("log_id")));
        Assert.Equal(left, string.Join(", ", await db.Grants(user)));
        Assert.Equal(Math.Max(7m - quantity, 0), result.Number("credits_released"));
        Assert.Equal(["grant 4", "grant 2", "grant 10", "hold -7", "release 7", $"usage -{quantity}"], await db.Ledger(user));
        Assert.Equal("m", await db.Value<string>("select metadata ->> 'model' from credits.credit_usage_logs where user_id = $1", user));
    }

    [Fact]
    public async Task A_commit_beyond_the_balance_is_declined_and_the_hold_stays()
    {
        var user = await db.Account(10);
        var id = Id(await Hold(user, 8));
        var declined = await db.Json(Commit, user, id, 11m);
        Assert.Equal(("insufficient_credits", 3m, 2m), (declined.Text("code"), declined.Number("required"), declined.Number("available")));
        Assert.Equal((2m, 8m), (await db.Balance(user), await Held(user)));
        Assert.Equal("ok", (await db.Json(Commit, user, id, 10m)).Text("code"));
        Assert.Equal(0, await db.Balance(user));
    }

    [Fact]
    public async Task The_price_of_the_hold_is_pinned()
    {
        var user = await db.Account(10);
        await db.Run("select credits.set_cost('pinned_action', 2)");
        var id = Id(await db.Json("select credits.reserve_credits($1, 'pinned_action', 2)", user));
        await db.Run("select credits.set_cost('pinned_action', 5)");
        Assert.Equal(6m, (await db.Json(Commit, user, id, 3m)).Number("credits_deducted"));
    }

    [Fact]
    public async Task Released_credits_go_back_to_the_very_grants_and_a_reason_is_kept()
    {
        var user = await ThreeGrants();
        var id = Id(await Hold(user, 7));
        var result = await db.Json("select credits.release_reservation($1, $2, 'cancelled')", user, id);
        Assert.Equal((7m, 16m, false), (result.Number("credits_released"), result.Number("balance_after"), result.Flag("replayed")));
        Assert.Equal(["promotional 4", "trial 2", "purchased 10"], await db.Grants(user));
        Assert.Equal("cancelled", await db.Value<string>("select metadata ->> 'reason' from credits.credit_ledger where user_id = $1 and kind = 'release'", user));
        Assert.True((await db.Json(Release, user, id)).Flag("replayed"));
        Assert.Equal(16, await db.Balance(user));
    }

    [Fact]
    public async Task Twice_replays_and_the_wrong_order_is_refused()
    {
        var user = await db.Account(20);
        var (committed, released) = (Id(await Hold(user, 4)), Id(await Hold(user, 4)));
        var first = await db.Json(Commit, user, committed, 3m);
        await db.Run(Release, user, released);
        var before = await db.Snapshot(user);
        var again = await db.Json(Commit, user, committed, 3m);
        Assert.Equal((true, first.Text("log_id"), 3m), (again.Flag("replayed"), again.Text("log_id"), again.Number("credits_deducted")));
        Assert.True((await db.Json(Release, user, released)).Flag("replayed"));
        Assert.Contains("\"status\": \"committed\"", (await db.Fails("UC312", Commit, user, committed, 2m)).Detail, StringComparison.Ordinal);
        await db.Fails("UC310", Release, user, committed);
        Assert.Contains("\"status\": \"released\"", (await db.Fails("UC312", Commit, user, released, 4m)).Detail, StringComparison.Ordinal);
        await db.Fails("UC311", "select credits.extend_reservation($1, $2)", user, committed);
        await db.Fails("UC311", "select credits.extend_reservation($1, $2)", user, released);
        Assert.Equal(before, await db.Snapshot(user));
    }

    [Fact]
    public async Task A_key_holds_once()
    {
        var user = await db.Account(10);
        const string Keyed = "select credits.reserve_credits($1, 'prompt_formatting', 4, p_idempotency_key => 'k')";
        var first = await db.Json(Keyed, user);
        var second = await db.Json(Keyed, user);
        Assert.Equal((Id(first), true, 6m), (Id(second), second.Flag("replayed"), await db.Balance(user)));
        await db.Fails("UC201", "select credits.reserve_credits($1, 'prompt_formatting', 5, p_idempotency_key => 'k')", user);
        await db.Fails("UC201", "select credits.deduct_credits_for_action($1, 'prompt_formatting', 4, p_idempotency_key => 'k')", user);
    }

    [Fact]
    public async Task A_hold_lapses_by_itself_and_reading_says_so_before_anything_is_written()
    {
        await db.SetClock("2026-03-01 00:00Z");
        var user = await db.Account(10);
        var id = Id(await Hold(user, 6, "10 minutes"));
        await db.SetClock("2026-03-01 00:09:59Z");
        Assert.Equal(4, await db.Balance(user));
        await db.SetClock("2026-03-01 00:10:00Z");
        Assert.Equal(10, await db.Balance(user));
        Assert.Equal("ok", (await db.Json("select credits.deduct_credits_for_action($1, 'prompt_formatting', 10)", user)).Text("code"));
        Assert.Equal("lapsed 2026-03-01 00:10:00", await db.Value<string>(
            "select status || ' ' || to_char(settled_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS') from credits.credit_reservations where reservation_id = $1", id));
        Assert.True((await db.Json(Release, user, id)).Flag("replayed"));
        await db.Fails("UC311", "select credits.extend_reservation($1, $2)", user, id);
    }

    [Fact]
    public async Task An_extended_hold_lasts_and_is_never_shortened()
    {
        await db.SetClock("2026-03-01 00:00Z");
        var user = await db.Account(10);
        var id = Id(await Hold(user, 6, "10 minutes"));
        await db.SetClock("2026-03-01 00:09Z");
        Assert.Equal(6m, (await db.Json("select credits.extend_reservation($1, $2, '1 hour')", user, id)).Number("credits_held"));
        await db.Run("select credits.extend_reservation($1, $2, '1 minute')", user, id);
        await db.SetClock("2026-03-01 01:08:59Z");
        Assert.Equal(4, await db.Balance(user));
        await db.SetClock("2026-03-01 01:09Z");
        Assert.Equal(10, await db.Balance(user));
    }

    [Theory]
    [InlineData("2026-02-15 00:00Z", "1 month -30 days +1 second", "2026-02-15 00:00:01")]
    [InlineData("2026-01-15 00:00Z", "1 month", "2026-02-14 00:00:00")]
    [InlineData("2026-03-28 12:00Z", "1 day", "2026-03-29 12:00:00")]
    public async Task A_hold_lasts_as_long_in_every_month_and_time_zone_of_a_session(string now, string ttl, string until)
    {
        await db.SetClock(now);
        var user = await db.Account(10);
        await using var connection = await db.Source.OpenConnectionAsync(TestContext.Current.CancellationToken);
        await connection.Run("set time zone 'Europe/Berlin'");
        var held = await connection.Json(Reserve, user, 1m, ttl);
        await connection.Run("select credits.extend_reservation($1, $2, $3::interval)", user, Id(held), ttl);
        Assert.Equal(until, await db.Value<string>(
            "select to_char(expires_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS') from credits.credit_reservations where user_id = $1", user));
        await connection.Run("reset time zone");
    }

    [Fact]
    public async Task Committing_a_lapsed_hold_charges_if_the_balance_allows_and_twice_replays()
    {
        await db.SetClock("2026-03-01 00:00Z");
        var user = await db.Account(10);
        var id = Id(await Hold(user, 6, "10 minutes"));
        await db.SetClock("2026-03-01 01:00Z");
        await db.Run("select credits.deduct_credits_for_action($1, 'prompt_formatting', 5)", user);
        var declined = await db.Json(Commit, user, id, null);
        Assert.Equal(("insufficient_credits", 6m, 5m), (declined.Text("code"), declined.Number("required"), declined.Number("available")));
        var charged = await db.Json(Commit, user, id, 5m);
        Assert.Equal(("ok", 5m, 0m, 0m), (charged.Text("code"), charged.Number("credits_deducted"), charged.Number("credits_released"), charged.Number("balance_after")));
        Assert.True((await db.Json(Commit, user, id, 5m)).Flag("replayed"));
        Assert.Equal(["grant 10", "hold -6", "release 6", "usage -5", "usage -5"], await db.Ledger(user));
    }

    [Fact]
    public async Task A_hold_outlives_the_expiry_of_its_grant()
    {
        await db.SetClock("2026-03-01 00:00Z");
        var user = await db.Account(10);
        await db.Run("select credits.grant_credits($1, 6, 'promotional', '2026-03-01 01:00Z')", user);
        var ids = new List<Guid>();
        foreach (var ttl in new[] { "10 hours", "10 hours", "2 hours" })
            ids.Add(Id(await Hold(user, 2, ttl)));
        await db.SetClock("2026-03-01 01:30Z");
        // All six are held, so nothing expired; a commit uses them all the same, and what a smaller one leaves over has nowhere to go.
        var committed = await db.Json(Commit, user, ids[0], 1.5m);
        Assert.Equal(("ok", 1.5m, 0.5m), (committed.Text("code"), committed.Number("credits_deducted"), committed.Number("credits_released")));
        Assert.Equal((10m, 10m, 4m), (committed.Number("balance_after"), await db.Balance(user), await Held(user)));
        var released = await db.Json(Release, user, ids[1]);
        Assert.Equal((2m, 10m), (released.Number("credits_released"), released.Number("balance_after")));
        Assert.Equal(10, await db.Balance(user));
        await db.SetClock("2026-03-01 02:00Z");
        var projected = await db.Json("select credits.get_credit_balance($1)", user);
        Assert.Equal((10m, 0m, 0m), (projected.Number("total"), projected.Number("held"), projected.Number("other")));
        await db.Run("select credits.settle_due_wallets(100000)");
        Assert.Equal(projected.ToString(), (await db.Json("select credits.get_credit_balance($1)", user)).ToString());
        Assert.Equal(
            ["grant 10", "grant 6", "hold -2", "hold -2", "hold -2", "release 2", "expiry -0.5", "usage -1.5", "release 2", "expiry -2", "release 2", "expiry -2"],
            await db.Ledger(user));
    }

    [Fact]
    public async Task A_suspended_account_may_commit_what_it_holds_but_no_more_and_reserve_nothing()
    {
        var user = await db.Account(10);
        var id = Id(await Hold(user, 4));
        await db.Run("update credits.accounts set status = 'suspended' where user_id = $1", user);
        Assert.Equal("account_suspended", (await Hold(user, 1)).Text("code"));
        Assert.Equal("account_suspended", (await db.Json(Commit, user, id, 5m)).Text("code"));
        Assert.Equal("ok", (await db.Json(Commit, user, id, 4m)).Text("code"));
        await db.Run("update credits.accounts set status = 'active' where user_id = $1", user);
    }

    [Theory]
    [MemberData(nameof(Levels))]
    public async Task Ten_connections_commit_one_hold_and_it_is_charged_once(IsolationLevel level)
    {
        var user = await db.Account(100);
        var id = Id(await Hold(user, 8));
        var outcomes = await db.Race(Racers, level, (c, _) => c.Json(Commit, user, id, 5m));
        Assert.All(outcomes, o => Assert.Equal("ok", o.Text("code")));
        Assert.Single(outcomes, o => !o.Flag("replayed"));
        Assert.Equal((95m, 0m, 1L), (await db.Balance(user), await Held(user), await db.Charges(user)));
    }

    [Theory]
    [MemberData(nameof(Levels))]
    public async Task Ten_connections_release_one_hold_and_it_comes_back_once(IsolationLevel level)
    {
        var user = await db.Account(100);
        var id = Id(await Hold(user, 8));
        var outcomes = await db.Race(Racers, level, (c, _) => c.Json(Release, user, id));
        Assert.Single(outcomes, o => !o.Flag("replayed"));
        Assert.Equal((100m, 0m), (await db.Balance(user), await Held(user)));
    }

    [Theory]
    [MemberData(nameof(Levels))]
    public async Task Commits_and_releases_race_and_one_side_wins_whole(IsolationLevel level)
    {
        for (var round = 0; round < 5; round++)
        {
            var user = await db.Account(100);
            var id = Id(await Hold(user, 8));
            var outcomes = await db.Race(Racers, level, (c, i) => i % 2 == 0 ? c.Json(Commit, user, id, null) : c.Json(Release, user, id));
            var committed = outcomes.Where((o, i) => i % 2 == 0 && o.Flag("success")).Any();
            Assert.Equal((committed ? 92m : 100m, 0m), (await db.Balance(user), await Held(user)));
            Assert.All(outcomes.Where((_, i) => i % 2 == 0), o => Assert.Equal(committed ? "ok" : "UC312", o.Text("code")));
            Assert.All(outcomes.Where((_, i) => i % 2 == 1), o => Assert.Equal(committed ? "UC310" : "ok", o.Text("code")));
        }
    }

    [Theory]
    [MemberData(nameof(Levels))]
    public async Task Holds_and_charges_race_for_credits_that_suffice_for_half(IsolationLevel level)
    {
        var user = await db.Account(50);
        var outcomes = await db.Race(20, level, (c, i) => i % 2 == 0
            ? c.Json(Reserve, user, 5m, "1 hour")
            : c.Json("select credits.deduct_credits_for_action($1, 'create_agent')", user));
        Assert.Equal(10, outcomes.Count(o => o.Text("code") == "ok"));
        Assert.Equal(0, await db.Balance(user));
        Assert.Equal(outcomes.Where((o, i) => i % 2 == 0 && o.Flag("success")).Count() * 5, await Held(user));
    }

    [Fact]
    public async Task Commits_race_with_the_lapse_and_nothing_is_charged_twice_or_lost()
    {
        await db.SetClock("2026-03-01 00:00Z");
        var user = await db.Account(100);
        var ids = new List<Guid>();
        for (var i = 0; i < Racers; i++)
            ids.Add(Id(await Hold(user, 10, "10 minutes")));
        Assert.Equal(0, await db.Balance(user));
        await db.SetClock("2026-03-01 00:10Z");
        await db.Race(Racers * 2, IsolationLevel.ReadCommitted, async (c, i) => i % 2 == 0
            ? await c.Json(Commit, user, ids[i / 2], 4m)
            : JsonSerializer.SerializeToElement(await c.Value<int>("select credits.settle_due_wallets(10)")));
        Assert.Equal((60m, 0m, 10L), (await db.Balance(user), await Held(user), await db.Charges(user)));
    }

    [Fact]
    public async Task A_repeatable_read_caller_who_comes_second_gets_40001()
    {
        var user = await db.Account(10);
        var id = Id(await Hold(user, 5));
        foreach (var sql in new[] { "select credits.commit_reservation($1, $2)", "select credits.release_reservation($1, $2)", "select credits.extend_reservation($1, $2)" })
        {
            await using var late = await db.Source.OpenConnectionAsync(TestContext.Current.CancellationToken);
            await late.Run("begin isolation level repeatable read");
            await late.Value<long>("select count(*) from credits.wallets");
            await db.Run("select credits.extend_reservation($1, $2, '1 day')", user, id);
            var error = await Assert.ThrowsAsync<Npgsql.PostgresException>(() => late.Run(sql, user, id));
            Assert.Equal("40001", error.SqlState);
            await late.Run("rollback");
        }
        Assert.Equal(5, await Held(user));
    }

    [Fact]
    public async Task Nobody_and_nothing_are_outcomes()
    {
        var user = await db.Account(1);
        var other = await db.Account(10);
        var id = Id(await Hold(other, 5));
        foreach (var sql in new[] { "select credits.commit_reservation($1, $2)", "select credits.release_reservation($1, $2)", "select credits.extend_reservation($1, $2)" })
            Assert.Equal("not_found", (await db.Json(sql, user, id)).Text("code"));
        Assert.Equal("unknown_account", (await Hold(Guid.NewGuid(), 1)).Text("code"));
        Assert.Equal("unknown_action", (await db.Json("select credits.reserve_credits($1, 'no_such_action')", user)).Text("code"));
        Assert.Equal(5, await Held(other));
    }

    [Theory]
    [InlineData("p_user_id", "reserve_credits(null, 'send_email')")]
    [InlineData("p_action_type", "reserve_credits($1, '')")]
    [InlineData("p_action_type", "reserve_credits($1, null)")]
    [InlineData("p_quantity", "reserve_credits($1, 'send_email', 0)")]
    [InlineData("p_quantity", "reserve_credits($1, 'send_email', null)")]
    [InlineData("p_quantity", "reserve_credits($1, 'send_email', 'NaN')")]
    [InlineData("p_quantity", "reserve_credits($1, 'create_agent', 900000000)")]
    [InlineData("p_ttl", "reserve_credits($1, 'send_email', 1, '0')")]
    [InlineData("p_ttl", "reserve_credits($1, 'send_email', 1, '-1 hour')")]
    [InlineData("p_ttl", "reserve_credits($1, 'send_email', 1, '31 days')")]
    [InlineData("p_ttl", "reserve_credits($1, 'send_email', 1, null)")]
    [InlineData("p_metadata", "reserve_credits($1, 'send_email', 1, '1 hour', '[]')")]
    [InlineData("p_idempotency_key", "reserve_credits($1, 'send_email', 1, '1 hour', '{}', '')")]
    [InlineData("p_user_id", "commit_reservation(null, $2)")]
    [InlineData("p_reservation_id", "commit_reservation($1, null)")]
    [InlineData("p_quantity", "commit_reservation($1, $2, -1)")]
    [InlineData("p_quantity", "commit_reservation($1, $2, 1000000001)")]
    [InlineData("p_quantity", "commit_reservation($1, $2, 0.0000001)")]
    [InlineData("p_metadata", "commit_reservation($1, $2, 1, '1')")]
    [InlineData("p_metadata", "commit_reservation($1, $2, 1, jsonb_build_object('a', repeat('x', 17000)))")]
    [InlineData("p_user_id", "release_reservation(null, $2)")]
    [InlineData("p_reservation_id", "release_reservation($1, null)")]
    [InlineData("p_reason", "release_reservation($1, $2, '')")]
    [InlineData("p_user_id", "extend_reservation(null, $2)")]
    [InlineData("p_reservation_id", "extend_reservation($1, null)")]
    [InlineData("p_ttl", "extend_reservation($1, $2, '0')")]
    [InlineData("p_ttl", "extend_reservation($1, $2, null)")]
    public async Task Refuses_malformed_arguments_by_name_and_changes_nothing(string argument, string call)
    {
        var user = await db.Account(10);
        var id = Id(await Hold(user, 5));
        await db.Refuses(user, argument, $"select credits.{call}, $1::uuid, $2::uuid", user, id);
    }

    private Task<JsonElement> Hold(Guid user, decimal quantity, string ttl = "15 minutes") => db.Json(Reserve, user, quantity, ttl);

    private Task<decimal> Held(Guid user) => db.Value<decimal>("select (credits.get_credit_balance($1) ->> 'held')::numeric", user);

    /// <summary>Spent in this order: 4 promotional that expire, 2 trial, 10 purchased.</summary>
    private async Task<Guid> ThreeGrants()
    {
        var user = await db.Account();
        await db.Run("select credits.grant_credits($1, 4, 'promotional', '2999-01-01')", user);
        await db.Run("select credits.grant_credits($1, 2, 'trial')", user);
        await db.Run("select credits.add_purchased_credits($1, 10)", user);
        return user;
    }

    private static Guid Id(JsonElement held) => held.GetProperty("reservation_id").GetGuid();
}

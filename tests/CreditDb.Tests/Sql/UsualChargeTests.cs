using System.Data;
using Npgsql;

namespace CreditDb.Tests.Sql;

/// <summary>The short path of deduct_credits_for_action, of a wallet whose grant is open: it must not be told from the general one, in races either.</summary>
public sealed class UsualChargeTests(TestDatabase db) : IClassFixture<TestDatabase>
{
    private const int Racers = 40;
    private const string Charge = "select credits.deduct_credits_for_action($1, 'create_agent')";
    private const string Keyed = "select credits.deduct_credits_for_action($1, 'create_agent', p_idempotency_key => $2)";

    public static TheoryData<IsolationLevel> Levels => Racing.Levels;

    [Theory]
    [InlineData("create_agent", "1", "{}")]
    [InlineData("send_email", "1", "{}")]
    [InlineData("create_agent", "1.0", "{\"a\": 1}")]
    [InlineData("create_agent", "2.5", "{}")]
    [InlineData("create_agent", "0.333333", "{\"a\": \"ü\"}")]
    [InlineData("send_email", "0.000001", "{}")]
    [InlineData("create_agent", "20.000000", "{}")]
    [InlineData("create_agent", "7", null)]
    [InlineData("free_of_charge", "1", "{}")]
    [InlineData("free_of_charge", "2", "{}")]
    [InlineData("create_agent", "200000001", "{}")]
    [InlineData("create_agent", "19", "[]")]
    [InlineData("create_agent", "1.0000001", "{}")]
    [InlineData("create_agent", "NaN", "{}")]
    [InlineData("create_agent", null, "{}")]
    public async Task Says_and_writes_what_the_general_path_does(string action, string? quantity, string? metadata)
    {
        const string charge = "select credits.deduct_credits_for_action($1, $2, $3::text::numeric, '11111111-0000-0000-0000-000000000001', $4::text::jsonb, $5)";
        const string entries = "select (to_jsonb(l) - '{user_id,created_at,key_hash}'::text[])::text || coalesce(key_hash = credits.key_hash(user_id, idempotency_key), false) "
            + "from credits.credit_ledger l where user_id = $1 order by entry_no";
        await db.Run("select credits.set_cost('free_of_charge', 0)");
        var (general, usual) = (await Opened(100), await Opened(100));
        // What may fall due within the hour is looked at.
        await db.Run("update credits.wallets set next_due_at = clock_timestamp() + interval '30 minutes' where user_id = $1", general);
        foreach (var key in new[] { "k", "k", null })
            Assert.Equal(await Said(general, key), await Said(usual, key));
        Assert.Equal(await db.Column<string>(entries, general), await db.Column<string>(entries, usual));

        async Task<string> Said(Guid user, string? key)
        {
            try
            {
                return (await db.Json(charge, user, action, quantity, metadata, key)).GetRawText();
            }
            catch (PostgresException e)
            {
                return e.MessageText;
            }
        }
    }

    [Fact]
    public async Task The_price_that_is_ready_follows_the_price_list_and_the_plans()
    {
        var action = $"usual_{Guid.NewGuid():N}";
        await db.Run("select credits.set_cost($1, 0.50)", action);
        Assert.Equal("0.5 Usual", await Ready());
        await db.Run("update credits.credit_costs set cost_per_unit = 2.0, usual_price = 7, usual_outcome = null where action_type = $1", action);
        Assert.Equal("2 Usual", await Ready());
        await db.Run("select credits.set_cost($1, p_is_active => false)", action);
        Assert.Equal("none", await Ready());
        await db.Run("select credits.set_cost($1, p_is_active => true)", action);
        await db.Run("select credits.set_feature('pro', $1, p_cost_per_unit => 1)", action);
        Assert.Equal("none", await Ready());
        await db.Run("delete from credits.plan_features where action_type = $1", action);
        Assert.Equal("2 Usual", await Ready());

        Task<string> Ready() => db.Value<string>(
            """
            select coalesce((usual_outcome ->> 'required') || ' ' || left(usual_outcome ->> 'action_name', 5), 'none')
            from credits.credit_costs
            where action_type = $1 and usual_price is not distinct from (usual_outcome ->> 'credits_deducted')::numeric
            """, action);
    }

    [Theory]
    [MemberData(nameof(Levels))]
    public async Task Forty_connections_with_one_key_charge_once(IsolationLevel level)
    {
        var user = await Opened(1000);
        var outcomes = await db.Race(Racers, level, (c, _) => c.Json(Keyed, user, "one"));
        Assert.All(outcomes, o => Assert.Equal("ok", o.Text("code")));
        Assert.Single(outcomes, o => !o.Flag("replayed"));
        Assert.Single(outcomes.Select(o => o.Text("log_id")).Distinct());
        Assert.Equal((990m, 2L), (await db.Balance(user), await db.Charges(user)));
    }

    [Theory]
    [MemberData(nameof(Levels))]
    public async Task Of_two_requests_with_one_key_one_is_charged_and_the_other_refused(IsolationLevel level)
    {
        var user = await Opened(1000);
        var references = new[] { Guid.NewGuid(), Guid.NewGuid() };
        var outcomes = await db.Race(Racers, level, (c, i) =>
            c.Json("select credits.deduct_credits_for_action($1, 'create_agent', 1, $2, p_idempotency_key => 'one')", user, references[i % 2]));
        Assert.Single(outcomes, o => o.Text("code") == "ok" && !o.Flag("replayed"));
        Assert.Equal(Racers / 2 - 1, outcomes.Count(o => o.Flag("replayed")));
        Assert.Equal(Racers / 2, outcomes.Count(o => o.Text("code") == "UC201"));
        Assert.Equal((990m, 2L), (await db.Balance(user), await db.Charges(user)));
    }

    [Theory]
    [MemberData(nameof(Levels))]
    public async Task Charges_with_one_key_with_their_own_and_without_race_and_each_is_counted_once(IsolationLevel level)
    {
        var user = await Opened(1000);
        var outcomes = await db.Race(Racers, level, (c, i) => (i % 4) switch
        {
            0 => c.Json(Keyed, user, "one"),
            1 => c.Json(Keyed, user, $"own {i}"),
            _ => c.Json(Charge, user),
        });
        Assert.All(outcomes, o => Assert.Equal("ok", o.Text("code")));
        Assert.Equal(Racers / 4 - 1, outcomes.Count(o => o.Flag("replayed")));
        var charged = 1 + 1 + Racers * 3 / 4;
        Assert.Equal((1000m - 5 * charged, (long)charged), (await db.Balance(user), await db.Charges(user)));
        Assert.Equal(Racers / 4 + 1, await db.Value<long>("select count(idempotency_key) from credits.credit_ledger where user_id = $1", user));
    }

    [Theory]
    [InlineData("repeatable read")]
    [InlineData("serializable")]
    public async Task Whoever_comes_second_on_an_older_snapshot_fails_with_40001(string level)
    {
        foreach (var first in new[] { Keyed, Charge })
        {
            var user = await Opened(100);
            await using var late = await db.Source.OpenConnectionAsync(TestContext.Current.CancellationToken);
            await late.Run($"begin isolation level {level}");
            await late.Value<long>("select count(*) from public.bots");
            await db.Run(first, first == Keyed ? [user, "k"] : [user]);
            var error = await Assert.ThrowsAsync<PostgresException>(() => late.Run(Keyed, user, "k"));
            Assert.Equal("40001", error.SqlState);
            Assert.Equal(90, await db.Balance(user));
        }
    }

    [Theory]
    [InlineData("select credits.deduct_credits_for_action($1, 'create_agent', p_idempotency_key => 'k')", "replayed")]
    [InlineData("select credits.deduct_credits_for_action($1, 'create_agent', 2, p_idempotency_key => 'k')", "UC201")]
    [InlineData("select credits.deduct_credits_for_action($1, 'create_agent', p_idempotency_key => 'k'), credits.erase_user_data($1)", "UC202")]
    [InlineData("select credits.grant_credits($1, 5, 'adjustment', p_idempotency_key => 'k')", "UC201")]
    [InlineData("select credits.deduct_credits_for_action($1, 'create_agent')", "charged")]
    [InlineData("select credits.suspend_account($1, 'a test')", "account_suspended")]
    public async Task Who_waited_for_the_wallet_sees_what_became_of_the_key_meanwhile(string meanwhile, string expected)
    {
        var user = await Opened(100);
        await using var holder = await db.Source.OpenConnectionAsync(TestContext.Current.CancellationToken);
        await using var waiter = await db.Source.OpenConnectionAsync(TestContext.Current.CancellationToken);
        await holder.Run("begin");
        await holder.Run(meanwhile, user);
        var waiting = Outcome();
        await Eventually.TrueAsync(() => db.Value<bool>("select $2 = any (pg_blocking_pids($1))", waiter.ProcessID, holder.ProcessID), "nobody waits");
        await holder.Run("commit");
        Assert.Equal(expected, await waiting);

        async Task<string> Outcome()
        {
            try
            {
                var outcome = await waiter.Json(Keyed, user, "k");
                return outcome.Text("code") != "ok" ? outcome.Text("code") : outcome.Flag("replayed") ? "replayed" : "charged";
            }
            catch (PostgresException e)
            {
                return e.SqlState;
            }
        }
    }

    [Fact]
    public async Task A_key_whose_charge_was_rolled_back_is_new_again()
    {
        var user = await Opened(100);
        await using var connection = await db.Source.OpenConnectionAsync(TestContext.Current.CancellationToken);
        await connection.Run("begin");
        await connection.Run("savepoint before");
        await connection.Run(Keyed, user, "k");
        await connection.Run("rollback to before");
        Assert.False((await connection.Json(Keyed, user, "k")).Flag("replayed"));
        Assert.True((await connection.Json(Keyed, user, "k")).Flag("replayed"));
        await connection.Run("commit");
        Assert.Equal(90, await db.Balance(user));
    }

    [Theory]
    [InlineData("")]
    [InlineData("256")]
    public async Task A_malformed_key_is_refused(string key)
    {
        var user = await Opened(100);
        await db.Refuses(user, "p_idempotency_key", Keyed, user, key.Length == 0 ? "" : new string('k', 256));
    }

    /// <summary>An account that was charged before, 5 of what it has: its grant is open.</summary>
    private async Task<Guid> Opened(decimal credits)
    {
        var user = await db.Account(credits);
        await db.Run(Charge, user);
        return user;
    }
}

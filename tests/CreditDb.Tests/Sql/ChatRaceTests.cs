using System.Data;
using Npgsql;

namespace CreditDb.Tests.Sql;

/// <summary>Real connections that report, grant, suspend and open accounts at once.</summary>
public sealed class ChatRaceTests(TestDatabase db) : IClassFixture<TestDatabase>
{
    public static TheoryData<IsolationLevel> Levels => Racing.Levels;

    [Theory]
    [MemberData(nameof(Levels))]
    public async Task Sixteen_connections_report_one_session_in_any_order_and_the_greatest_total_is_charged(IsolationLevel level)
    {
        var user = await db.Account(50);
        var session = await Open(user);
        var random = new Random(7);
        var reports = Enumerable.Range(0, 160).Select(_ => random.Next(0, 3600)).ToArray();
        var charged = await Race(level, 16, async (connection, i) =>
        {
            var sum = 0m;
            foreach (var elapsed in reports.Skip(i * 10).Take(10))
                sum += (await connection.Json("select credits.record_chat_time($1, $2, $3)", user, session, elapsed)).Number("credits_charged");
            return sum;
        });
        var intervals = reports.Max() / 15;
        Assert.Equal(Math.Min(50, intervals * 0.25m), charged.Sum());
        Assert.Equal((50 - charged.Sum(), reports.Max()), (await db.Balance(user), await db.Value<int>("select elapsed_seconds from credits.chat_sessions where user_id = $1", user)));
        Assert.Equal(intervals * 0.25m - charged.Sum(), await db.Value<decimal>("select owed from credits.wallets where user_id = $1 and credit_type = 'credits'", user));
    }

    [Theory]
    [MemberData(nameof(Levels))]
    public async Task Two_connections_report_the_same_total_and_one_charges(IsolationLevel level)
    {
        for (var round = 0; round < 10; round++)
        {
            var user = await db.Account(5);
            var session = await Open(user);
            var charged = await Race(level, 2, async (connection, _) =>
                (await connection.Json("select credits.record_chat_time($1, $2, 150)", user, session)).Number("credits_charged"));
            Assert.Equal([0m, 2.5m], charged.Order());
        }
    }

    [Theory]
    [MemberData(nameof(Levels))]
    public async Task Reports_race_grants_and_nothing_is_owed_that_could_be_paid(IsolationLevel level)
    {
        var user = await db.Account();
        var session = await Open(user);
        await Race(level, 12, async (connection, i) =>
        {
            if (i % 2 == 0)
                await connection.Run("select credits.record_chat_time($1, $2, $3)", user, session, 300 * (i + 1));
            else
                await connection.Run("select credits.grant_credits($1, 7.1, 'promotional')", user);
            return 0m;
        });
        Assert.Equal("42.500000 12.500000 0.1", await db.Value<string>(
            "select concat_ws(' ', s.credits_used, s.credits_owed, trim_scale(w.balance)) from credits.chat_sessions s join credits.wallets w using (user_id, credit_type) where user_id = $1", user));
    }

    [Theory]
    [MemberData(nameof(Levels))]
    public async Task Reports_race_a_suspension_and_only_what_came_before_it_is_charged(IsolationLevel level)
    {
        var user = await db.Account(100);
        var session = await Open(user);
        await Race(level, 9, async (connection, i) =>
        {
            if (i == 4)
                await connection.Run("update credits.accounts set status = 'suspended' where user_id = $1", user);
            else
                await connection.Run("select credits.record_chat_time($1, $2, $3)", user, session, 300 * (i + 1));
            return 0m;
        });
        var used = await db.Value<decimal>("select credits_used from credits.chat_sessions where user_id = $1", user);
        Assert.Equal((100 - used, 45m), (await db.Balance(user), await db.Value<decimal>("select credits_used + credits_owed from credits.chat_sessions where user_id = $1", user)));
        Assert.Equal("account_suspended", (await db.Json("select credits.record_chat_time($1, $2, 3000)", user, session)).Text("code"));
        Assert.Equal(100 - used, await db.Balance(user));
    }

    [Fact]
    public async Task Reports_race_the_opening_of_the_account_and_all_is_paid_with_the_next_report_at_the_latest()
    {
        for (var round = 0; round < 10; round++)
        {
            var user = Guid.NewGuid();
            var session = await Open(user);
            await Race(IsolationLevel.ReadCommitted, 8, async (connection, i) =>
            {
                if (i == 4)
                    await connection.Run("select credits.open_account($1)", user);
                else
                    await connection.Run("select credits.record_chat_time($1, $2, $3)", user, session, 300 * (i + 1));
                return 0m;
            });
            await db.Run("select credits.record_chat_time($1, $2, 2415)", user, session);
            Assert.Equal(100 - 40.25m, await db.Balance(user));
        }
    }

    [Fact]
    public async Task Eight_connections_open_one_session_and_one_does()
    {
        var user = await db.Account(1);
        var session = Guid.NewGuid();
        var opened = await Race(IsolationLevel.ReadCommitted, 8, async (connection, _) =>
            (await connection.Json("select credits.open_chat_session($1, $2)", user, session)).Flag("opened") ? 1m : 0m);
        Assert.Equal(1, opened.Sum());
    }

    private async Task<Guid> Open(Guid user)
    {
        var session = Guid.Parse((await db.Json("select credits.open_chat_session($1)", user)).Text("session_id"));
        // As if it had begun an hour and a half ago.
        await db.Run("update credits.chat_sessions set started_at = started_at - interval '90 minutes' where user_id = $1", user);
        return session;
    }

    /// <summary>Runs the work on as many connections at once, each in a transaction that is retried as a caller must: on 40001 and 40P01.</summary>
    private Task<decimal[]> Race(IsolationLevel level, int racers, Func<NpgsqlConnection, int, Task<decimal>> work) =>
        Task.WhenAll(Enumerable.Range(0, racers).Select(async i =>
        {
            await using var connection = await db.Source.OpenConnectionAsync();
            while (true)
            {
                await using var transaction = await connection.BeginTransactionAsync(level);
                try
                {
                    var result = await work(connection, i);
                    await transaction.CommitAsync();
                    return result;
                }
                catch (PostgresException e) when (e.SqlState is PostgresErrorCodes.SerializationFailure or PostgresErrorCodes.DeadlockDetected)
                {
                    // Once more; leaving the block rolls back, where a failed commit has not.
                }
            }
        }));
}

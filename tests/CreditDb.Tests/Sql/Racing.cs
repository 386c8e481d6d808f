using System.Data;
using System.Text.Json;
using Npgsql;

namespace CreditDb.Tests.Sql;

/// <summary>What the tests of the credit model share: races, and the books in short form.</summary>
internal static class Racing
{
    public static TheoryData<IsolationLevel> Levels => [IsolationLevel.ReadCommitted, IsolationLevel.RepeatableRead, IsolationLevel.Serializable];

    /// <summary>
    /// Runs the work on as many connections at once, each in a transaction that is retried as a caller must: on 40001 and 40P01. A raised UC error is
    /// an outcome too: its code is the SQLSTATE.
    /// </summary>
    public static Task<JsonElement[]> Race(this TestDatabase db, int racers, IsolationLevel level, Func<NpgsqlConnection, int, Task<JsonElement>> work) =>
        Task.WhenAll(Enumerable.Range(0, racers).Select(async i =>
        {
            await using var connection = await db.Source.OpenConnectionAsync();
            while (true)
            {
                await using var transaction = await connection.BeginTransactionAsync(level);
                try
                {
                    var outcome = await work(connection, i);
                    await transaction.CommitAsync();
                    return outcome;
                }
                catch (PostgresException e) when (e.SqlState is PostgresErrorCodes.SerializationFailure or PostgresErrorCodes.DeadlockDetected)
                {
                    // Once more; leaving the block rolls back.
                }
                catch (PostgresException e) when (e.SqlState.StartsWith("UC", StringComparison.Ordinal))
                {
                    return JsonDocument.Parse($$"""{"code": "{{e.SqlState}}", "success": false, "replayed": false}""").RootElement;
                }
            }
        }));

    /// <summary>A credit type that nobody has a wallet of yet; it sorts by the beginning of its name.</summary>
    public static async Task<string> NewCreditType(this TestDatabase db, string beginning)
    {
        var type = $"{beginning}_{Guid.NewGuid():N}";
        await db.Run("select credits.set_cost($1, 1, p_credit_type => $1)", type);
        return type;
    }

    public static Task<List<string>> Ledger(this TestDatabase db, Guid user, string creditType = "credits") => db.Column<string>(
        "select kind || ' ' || trim_scale(amount) from credits.credit_ledger where user_id = $1 and credit_type = $2 order by entry_no", user, creditType);

    /// <summary>What each grant has left, in the order granted.</summary>
    public static Task<List<string>> Grants(this TestDatabase db, Guid user, string creditType = "credits") => db.Column<string>(
        "select source || ' ' || trim_scale(remaining) from credits.credit_grants where user_id = $1 and credit_type = $2 order by grant_no", user, creditType);

    /// <summary>The allocations of an entry, as "source amount" in their order.</summary>
    public static Task<string> Allocations(this TestDatabase db, Guid user, decimal entry) => db.Value<string>(
        """
        select string_agg((d.value ->> 'source') || ' ' || (d.value ->> 'amount'), ', ' order by d.n)
        from credits.credit_ledger l, jsonb_array_elements(credits.allocations_of(l)) with ordinality as d (value, n)
        where l.user_id = $1 and l.credit_type = 'credits' and l.entry_no = $2
        """, user, (long)entry);

    public static Task<List<string>> Told(this TestDatabase db, Guid user) => db.Column<string>(
        "select type || ' ' || repeats from credits.notifications where user_id = $1 and type <> 'deduction_failed' order by created_at, type", user);

    /// <summary>Refused by name, and nothing is changed.</summary>
    public static async Task Refuses(this TestDatabase db, Guid user, string argument, string sql, params object?[] arguments)
    {
        var before = await db.Snapshot(user);
        var error = await db.Fails("UC001", sql, arguments);
        Assert.Contains($"\"argument\": \"{argument}\"", error.Detail, StringComparison.Ordinal);
        Assert.Equal(before, await db.Snapshot(user));
    }
}

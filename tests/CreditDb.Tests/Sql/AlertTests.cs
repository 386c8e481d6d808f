using Npgsql;

namespace CreditDb.Tests.Sql;

/// <summary>list_alerts, acknowledge_alert, get_worker_state.</summary>
public sealed class AlertTests : IClassFixture<TestDatabase>
{
    private readonly TestDatabase _db;

    public AlertTests(TestDatabase db)
    {
        _db = db;
        _db.BooksAreDamaged = true;
    }

    [Fact]
    public async Task Pages_of_alerts_have_each_once_the_newest_first()
    {
        var user = await _db.Account();
        for (var i = 0; i < 7; i++)
            await Raise(user, "high_usage", $"hour {i}", $"2026-01-01 0{i / 2}:00Z");
        await Raise(user, "many_declines", "hour", "2026-01-02 00:00Z");
        await _db.Run("select credits.acknowledge_alert($1, alert_id) from credits.alerts where user_id = $1 and subject = 'hour 3'", user);

        List<string> subjects = [];
        DateTime? at = null;
        Guid? id = null;
        do
        {
            await using var connection = await _db.Source.OpenConnectionAsync(TestContext.Current.CancellationToken);
            await using var command = new NpgsqlCommand("select raised_at, alert_id, subject from credits.list_alerts(true, 'high_usage', $1, $2, $3, 2)", connection)
            {
                Parameters = { new() { Value = user }, new() { Value = (object?)at ?? DBNull.Value, NpgsqlDbType = NpgsqlTypes.NpgsqlDbType.TimestampTz }, new() { Value = (object?)id ?? DBNull.Value, NpgsqlDbType = NpgsqlTypes.NpgsqlDbType.Uuid } },
            };
            await using var reader = await command.ExecuteReaderAsync(TestContext.Current.CancellationToken);
            id = null;
            while (await reader.ReadAsync(TestContext.Current.CancellationToken))
            {
                (at, id) = (reader.GetDateTime(0), reader.GetGuid(1));
                subjects.Add(reader.GetString(2));
            }
        }
        while (id is not null);
        Assert.Equal(["hour 6", "hour 5", "hour 4", "hour 2", "hour 1", "hour 0"], subjects.Select(s => s).OrderByDescending(s => s).ToList());
        Assert.Equal("hour 6", subjects[0]);
        Assert.Equal(6, subjects.Count);

        Assert.Equal(8, await Count("null"));
        Assert.Equal(7, await Count("true"));
        Assert.Equal(1, await Count("false"));
        Task<long> Count(string isOpen) => _db.Value<long>($"select count(*) from credits.list_alerts({isOpen}, p_user_id => $1)", user);
    }

    [Fact]
    public async Task Acknowledging_closes_what_is_past_and_marks_what_is_still_wrong()
    {
        var (user, other) = (await _db.Account(), await _db.Account());
        await Raise(user, "high_usage", "hour", "2026-01-01Z");
        await Raise(user, "discrepancy", "debt", "2026-01-01Z");
        await Raise(other, "high_usage", "hour", "2026-01-01Z");
        var id = await _db.Value<Guid>("select alert_id from credits.alerts where user_id = $1 and kind = 'discrepancy'", user);
        await using (var connection = await _db.Source.OpenConnectionAsync(TestContext.Current.CancellationToken))
        {
            await using var transaction = await connection.BeginTransactionAsync(TestContext.Current.CancellationToken);
            await connection.Run("set local credits.actor = 'ann@example.com'");
            Assert.Equal(1, (await connection.Json("select credits.acknowledge_alert($1, $2, 'seen')", user, id)).Number("acknowledged"));
            await transaction.CommitAsync(TestContext.Current.CancellationToken);
        }
        Assert.Equal(0, (await _db.Json("select credits.acknowledge_alert($1, $2, 'again')", user, id)).Number("acknowledged"));
        Assert.Equal(["discrepancy ann@example.com seen"], await _db.Column<string>(
            "select concat_ws(' ', kind, acknowledged_by, note) from credits.alerts where user_id = $1 and acknowledged_at is not null and closed_at is null", user));
        Assert.Equal(1, (await _db.Json("select credits.acknowledge_alert($1)", user)).Number("acknowledged"));
        Assert.Equal(["discrepancy debt"], await _db.Alerts(user));
        Assert.Equal(["high_usage hour"], await _db.Alerts(other));

        Assert.Equal("not_found", (await _db.Json("select credits.acknowledge_alert($1, $2)", other, id)).Text("code"));
        await _db.Refuses(user, "p_user_id", "select credits.acknowledge_alert(null)");
        await _db.Refuses(user, "p_note", "select credits.acknowledge_alert($1, null, '')", user);
        await _db.Refuses(user, "p_note", "select credits.acknowledge_alert($1, null, repeat('x', 1001))", user);
        await _db.Refuses(user, "p_kind", "select * from credits.list_alerts(p_kind => 'odd')");
        await _db.Refuses(user, "p_limit", "select * from credits.list_alerts(p_limit => 1001)");
        await _db.Refuses(user, "p_before_id", "select * from credits.list_alerts(p_before_at => now())");
    }

    [Fact]
    public async Task Erasing_a_user_erases_the_alerts_and_a_person_reads_none()
    {
        var user = await _db.Account();
        await Raise(user, "discrepancy", "entry of the key ann@example.com of caller", "2026-01-01Z");
        await using (var connection = await _db.Source.OpenConnectionAsync(TestContext.Current.CancellationToken))
        {
            await connection.Run("set role creditdb_user");
            await connection.Run($"set credits.user_id = '{user}'");
            var error = await Assert.ThrowsAsync<PostgresException>(() => connection.Run("select * from credits.alerts"));
            Assert.Equal(PostgresErrorCodes.InsufficientPrivilege, error.SqlState);
            await connection.Run("reset role");
        }
        await _db.Run("select credits.erase_user_data($1)", user);
        Assert.DoesNotContain("ann@example.com", await _db.Snapshot(user), StringComparison.Ordinal);
    }

    private Task<int> Raise(Guid user, string kind, string subject, string at) =>
        _db.Run("select credits.raise_alert($1, $2, 'credits', $3, '{}', $4)", user, kind, subject, at);
}

/// <summary>The state is that of the whole database.</summary>
public sealed class WorkerStateTests(TestDatabase db) : IClassFixture<TestDatabase>
{
    [Fact]
    public async Task The_lag_of_each_job_is_how_late_the_oldest_due_thing_is()
    {
        await db.SetClock("2026-03-01 12:00Z");
        var user = await db.Account(10);
        Assert.Equal("0 0 0 0 0 0", await Lag());
        await db.Run("select credits.reserve_credits($1, 'send_email', p_ttl => '10 minutes')", user);
        await db.Run("select credits.create_purchase($1, (select min(package_id) from credits.credit_packages), 'stripe')", user);
        foreach (var function in new[] { "roll_up_next", "verify_next", "find_anomalies", "forget_keys" })
            await db.Sweep(function, every: "1 hour");
        Assert.Equal("0 0 0 0 0 0", await Lag());

        await db.SetClock("2026-03-01 12:10:01Z");
        Assert.Equal("1 0 0 0 0 0", await Lag());
        await db.SetClock("2026-03-02 13:00:02Z");
        Assert.Equal("89402 2 86402 86402 86402 86402", await Lag());
        Assert.Equal("89402 89942 86402 86402 86402 86402", await Lag("1 minute"));

        // Late until the sweep is complete, not only begun.
        await db.Account();
        await db.Json("select credits.verify_next('1 hour', 1)");
        Assert.Equal("89402 2 86402 86402 86402 86402", await Lag());
        await db.Sweep("verify_next", every: "1 hour");
        await db.Run("select credits.settle_due_wallets(), credits.expire_purchases()");
        Assert.Equal("0 0 86402 0 86402 86402", await Lag());

        Assert.Equal("""{"attachment": 0, "high_usage": 0, "discrepancy": 0, "many_declines": 0}""", (await State("25 hours")).Text("open_alerts"));
        await db.Run("select credits.raise_alert($1, 'discrepancy', 'credits', 'debt', '{}', now())", user);
        Assert.Equal(1, (await State("25 hours")).GetProperty("open_alerts").Number("discrepancy"));
        await db.Refuses(user, "p_purchase_age", "select credits.get_worker_state('0')");
    }

    private Task<System.Text.Json.JsonElement> State(string age) => db.Json("select credits.get_worker_state($1)", age);

    private async Task<string> Lag(string age = "25 hours")
    {
        var lag = (await State(age)).GetProperty("lag");
        return string.Join(' ', new[] { "settle", "purchases", "rollups", "verify", "anomalies", "keys" }.Select(job => lag.Number(job).ToString("0.###", System.Globalization.CultureInfo.InvariantCulture)));
    }
}

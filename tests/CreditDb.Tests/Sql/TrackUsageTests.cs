using Npgsql;

namespace CreditDb.Tests.Sql;

/// <summary>track_usage_and_deduct_credits: what succeeded is charged, what failed is only remembered.</summary>
public sealed class TrackUsageTests(TestDatabase db) : IClassFixture<TestDatabase>
{
    private const string Track = "select credits.track_usage_and_deduct_credits($1, $2, $3)";
    private const string TrackWithKey = "select credits.track_usage_and_deduct_credits($1, $2, $3, $4)";
    private const string Succeeded = """{"success": true, "service": "openai", "tokensUsed": 1234, "responseTime": 87.5, "timestamp": "2026-03-01T10:00:00Z", "metadata": {"a": [1]}}""";
    private const string Failed = """{"success": false, "service": "openai", "tokensUsed": 1234, "responseTime": 87.5, "timestamp": "2026-03-01T12:00:00.5+02:00", "metadata": {"a": [1]}}""";

    [Fact]
    public async Task Success_is_charged_like_the_action_itself_with_the_report_as_metadata()
    {
        var user = await db.Account(10);
        var other = await db.Account(10);
        var tracked = await db.Json(Track, user, "brag_doc", Succeeded);
        Assert.Equal((await db.Json("select credits.deduct_credits_for_action($1, 'brag_doc')", other)).ToString(), tracked.ToString());
        Assert.Equal(8, await db.Balance(user));
        Assert.True(await db.Value<bool>("select metadata = $2::jsonb and quantity = 1 from credits.credit_usage_logs where user_id = $1", user, Succeeded));
        Assert.Equal(0, await Attempts(user));
    }

    [Fact]
    public async Task Failure_charges_nothing_and_is_kept_with_all_that_was_reported()
    {
        var user = await db.Account(10);
        var outcome = await db.Json(Track, user, "brag_doc", Failed);
        Assert.Equal((true, "ok", 0m, "attempt", "Brag Doc", false),
            (outcome.Flag("success"), outcome.Text("code"), outcome.Number("credits_deducted"), outcome.Text("recorded"), outcome.Text("action_name"), outcome.Flag("replayed")));
        Assert.Equal(10, await db.Balance(user));
        Assert.Equal(0, await db.Charges(user));
        Assert.Equal(outcome.Text("attempt_id") + """ brag_doc openai 1234 87.5 2026-03-01 10:00:00.5 {"a": [1]}""", await db.Value<string>(
            "select concat_ws(' ', attempt_id, action_type, service, tokens_used, response_time_ms, occurred_at at time zone 'UTC', metadata) from credits.usage_attempts where user_id = $1", user));
        await db.Run(Track, user, "brag_doc", Failed);
        Assert.Equal(2, await Attempts(user));
    }

    [Theory]
    [InlineData("""{"success": false}""")]
    [InlineData("""{"success": false, "service": null, "tokensUsed": null, "responseTime": null, "timestamp": null, "metadata": null}""")]
    public async Task What_is_null_or_left_out_is_null(string usage)
    {
        var user = await db.Account(10);
        await db.Run(Track, user, "brag_doc", usage);
        Assert.Equal("{}", await db.Value<string>(
            "select concat_ws(' ', service, tokens_used, response_time_ms, occurred_at, metadata) from credits.usage_attempts where user_id = $1", user));
    }

    [Fact]
    public async Task A_success_that_cannot_be_paid_is_declined_as_ever()
    {
        var user = await db.Account(1);
        Assert.Equal("insufficient_credits", (await db.Json(Track, user, "brag_doc", Succeeded)).Text("code"));
        Assert.Equal(1, await db.Balance(user));
    }

    [Fact]
    public async Task With_a_key_a_failure_is_kept_once_and_a_later_success_charges_once()
    {
        var user = await db.Account(10);
        var first = await db.Json(TrackWithKey, user, "brag_doc", Failed, "k");
        var second = await db.Json(TrackWithKey, user, "brag_doc", """{"success": false}""", "k");
        Assert.Equal((false, true, first.Text("attempt_id")), (first.Flag("replayed"), second.Flag("replayed"), second.Text("attempt_id")));
        Assert.Equal(1, await Attempts(user));
        Assert.False((await db.Json(TrackWithKey, user, "brag_doc", Succeeded, "k")).Flag("replayed"));
        Assert.True((await db.Json(TrackWithKey, user, "brag_doc", Succeeded, "k")).Flag("replayed"));
        Assert.Equal(8, await db.Balance(user));
        await db.Run(TrackWithKey, await db.Account(1), "brag_doc", Failed, "k");
        var before = await db.Snapshot(user);
        await db.Fails("UC201", TrackWithKey, user, "create_agent", Failed, "k");
        await db.Fails("UC201", TrackWithKey, user, "create_agent", Succeeded, "k");
        await db.Run(TrackWithKey, user, "brag_doc", Failed, "k");
        Assert.Equal(before, await db.Snapshot(user));
    }

    [Fact]
    public async Task The_same_report_from_eight_connections_at_once_is_kept_once()
    {
        var user = await db.Account(10);
        var outcomes = await Task.WhenAll(Enumerable.Range(0, 8).Select(_ => db.Json(TrackWithKey, user, "brag_doc", Failed, "k")));
        Assert.Equal(1, outcomes.Count(o => !o.Flag("replayed")));
        Assert.Equal(1, await Attempts(user));
    }

    [Fact]
    public async Task Reports_of_failures_and_charges_at_once_leave_each_other_alone()
    {
        var user = await db.Account(100);
        await Task.WhenAll(Enumerable.Range(0, 8).Select(async n =>
        {
            await using var connection = await db.Source.OpenConnectionAsync(TestContext.Current.CancellationToken);
            for (var i = 0; i < 10; i++)
                await connection.Run(Track, user, "chat_refinement", n % 2 == 0 ? Succeeded : Failed);
        }));
        Assert.Equal(60, await db.Balance(user));
        Assert.Equal(40, await Attempts(user));
    }

    [Fact]
    public async Task A_second_caller_at_repeatable_read_gets_40001()
    {
        var user = await db.Account(10);
        await using var connection = await db.Source.OpenConnectionAsync(TestContext.Current.CancellationToken);
        await using var transaction = await connection.BeginTransactionAsync(System.Data.IsolationLevel.RepeatableRead, TestContext.Current.CancellationToken);
        await connection.Value<long>("select count(*) from credits.wallets");
        await db.Run(TrackWithKey, user, "brag_doc", Failed, "k");
        Assert.Equal("40001", (await Assert.ThrowsAsync<PostgresException>(() => connection.Run(TrackWithKey, user, "brag_doc", Failed, "k"))).SqlState);
    }

    [Fact]
    public async Task Nobody_and_nothing_are_outcomes()
    {
        Assert.Equal("unknown_account", (await db.Json(Track, Guid.NewGuid(), "brag_doc", Failed)).Text("code"));
        var user = await db.Account(10);
        var before = await db.Snapshot(user);
        Assert.Equal("unknown_action", (await db.Json(Track, user, "no_such_thing", Failed)).Text("code"));
        Assert.Equal(before, await db.Snapshot(user));
        Assert.Equal("unknown_action", (await db.Json(Track, user, "no_such_thing", Succeeded)).Text("code"));
    }

    [Theory]
    [InlineData("""{"success": true, "token": 1}""", "p_usage.token")]
    [InlineData("""{}""", "p_usage.success")]
    [InlineData("""{"success": null}""", "p_usage.success")]
    [InlineData("""{"success": "true"}""", "p_usage.success")]
    [InlineData("""[]""", "p_usage")]
    [InlineData("""null""", "p_usage")]
    [InlineData(null, "p_usage")]
    [InlineData("""{"success": false, "service": 1}""", "p_usage.service")]
    [InlineData("""{"success": false, "service": ""}""", "p_usage.service")]
    [InlineData("""{"success": false, "tokensUsed": -1}""", "p_usage.tokensUsed")]
    [InlineData("""{"success": false, "tokensUsed": "1"}""", "p_usage.tokensUsed")]
    [InlineData("""{"success": true, "tokensUsed": 1e13}""", "p_usage.tokensUsed")]
    [InlineData("""{"success": true, "responseTime": -0.5}""", "p_usage.responseTime")]
    [InlineData("""{"success": true, "responseTime": [1]}""", "p_usage.responseTime")]
    [InlineData("""{"success": true, "metadata": "x"}""", "p_usage.metadata")]
    [InlineData("""{"success": true, "timestamp": 1}""", "p_usage.timestamp")]
    [InlineData("""{"success": true, "timestamp": "now"}""", "p_usage.timestamp")]
    [InlineData("""{"success": true, "timestamp": ""}""", "p_usage.timestamp")]
    public async Task Bad_usage_is_named_and_changes_nothing(string? usage, string argument)
    {
        var user = await db.Account(10);
        var before = await db.Snapshot(user);
        var error = await db.Fails("UC001", Track, user, "brag_doc", usage);
        Assert.Contains($"\"argument\": \"{argument}\"", error.Detail, StringComparison.Ordinal);
        Assert.Equal(before, await db.Snapshot(user));
    }

    [Fact]
    public async Task The_other_arguments_are_checked_too()
    {
        var user = await db.Account(10);
        Assert.Contains("p_user_id", (await db.Fails("UC001", Track, null, "brag_doc", Failed)).Detail, StringComparison.Ordinal);
        Assert.Contains("p_operation", (await db.Fails("UC001", Track, user, "", Failed)).Detail, StringComparison.Ordinal);
        Assert.Contains("p_operation", (await db.Fails("UC001", Track, user, null, Failed)).Detail, StringComparison.Ordinal);
        Assert.Contains("p_idempotency_key", (await db.Fails("UC001", TrackWithKey, user, "brag_doc", Failed, new string('k', 256))).Detail, StringComparison.Ordinal);
        Assert.Contains("p_usage", (await db.Fails("UC001", Track, user, "brag_doc", "{\"success\": false, \"metadata\": {\"x\": \"" + new string('x', 16400) + "\"}}")).Detail, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("2024-02-29T23:59:59Z", true)]
    [InlineData("2000-02-29T00:00:00.123456789+14:00", true)]
    [InlineData("0001-01-01T00:00:00-14:59", true)]
    [InlineData("9999-12-31T23:59:59.9999999-14:59", true)]
    [InlineData("2023-02-29T00:00:00Z", false)]
    [InlineData("1900-02-29T00:00:00Z", false)]
    [InlineData("2026-04-31T00:00:00Z", false)]
    [InlineData("2026-00-10T00:00:00Z", false)]
    [InlineData("2026-13-10T00:00:00Z", false)]
    [InlineData("2026-01-00T00:00:00Z", false)]
    [InlineData("0000-01-01T00:00:00Z", false)]
    [InlineData("2026-01-01T24:00:00Z", false)]
    [InlineData("2026-01-01T00:60:00Z", false)]
    [InlineData("2026-01-01T00:00:60Z", false)]
    [InlineData("2026-01-01T00:00:00+15:00", false)]
    [InlineData("2026-01-01T00:00:00+01:60", false)]
    [InlineData("2026-01-01T00:00:00", false)]
    [InlineData("2026-01-01 00:00:00Z", false)]
    [InlineData("2026-01-01", false)]
    [InlineData("infinity", false)]
    [InlineData("2026-01-01T00:00:00Z\n", false)]
    public async Task A_timestamp_is_read_or_refused_without_an_error_of_the_casts(string text, bool isOne) =>
        Assert.Equal(isOne, await db.Value<bool>("select credits.iso_timestamp($1) is not null", text));

    [Fact]
    public async Task Every_day_of_four_centuries_is_a_timestamp() => Assert.Equal(0, await db.Value<long>(
        "select count(*) from generate_series(timestamp '1900-01-01', '2300-12-31', '1 day') t where credits.iso_timestamp(to_char(t, 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')) is distinct from t at time zone 'UTC'"));

    private Task<long> Attempts(Guid user) => db.Value<long>("select count(*) from credits.usage_attempts where user_id = $1", user);
}

using System.Text.Json;

namespace CreditDb.Tests.Work;

/// <summary>The verb work: each job by hand, or all of them until it is told to stop.</summary>
public sealed class WorkCommandTests(TestServer server) : IAsyncLifetime
{
    private readonly TestDatabase _db = new(server);

    public ValueTask InitializeAsync() => _db.InitializeAsync();

    public ValueTask DisposeAsync() => _db.DisposeAsync();

    [Fact]
    public async Task A_job_is_done_once_and_all_of_them_are()
    {
        var user = await _db.Account(100);
        await _db.Run("select credits.deduct_credits_for_action($1, 'send_email')", user);
        await _db.Run("select credits.create_purchase($1, (select min(package_id) from credits.credit_packages), 'stripe')", user);
        await _db.Run("update credits.credit_purchases set created_at = created_at - interval '2 hours'");

        var one = await RunAsync(0, ["work", "rollups", "--once", "--json"]);
        Assert.Equal("work", one.GetProperty("command").GetString());
        var run = Assert.Single(one.GetProperty("result").GetProperty("runs").EnumerateArray());
        Assert.Equal(("rollups", 1), (run.Text("job"), run.Number("items")));
        Assert.Equal(0, Runs(await RunAsync(0, ["work", "rollups", "--once", "--json"]), "rollups"));

        var all = await RunAsync(0, ["work", "--once", "--json"]);
        Assert.Equal(["settle", "purchases", "expiring", "rollups", "anomalies", "keys", "verify"],
            all.GetProperty("result").GetProperty("runs").EnumerateArray().Select(r => r.Text("job")));
        Assert.Equal(1, Runs(all, "verify"));
        Assert.Equal(0, Runs(all, "purchases"));
        // The settings are those of the environment.
        Assert.Equal(1, Runs(await RunAsync(0, ["work", "purchases", "settle", "--once", "--json"], ("Worker__PurchaseAge", "01:00:00")), "purchases"));

        var text = await HostProcess.RunAsync(["work", "verify", "--once"], environment: Environment());
        Assert.Equal(0, text.ExitCode);
        Assert.Matches("verify +1 +0", text.Output);
    }

    [Fact]
    public async Task Open_discrepancies_have_their_exit_code_also_when_they_are_known()
    {
        _db.BooksAreDamaged = true;
        var user = await _db.Account(100);
        await _db.Run("update credits.wallets set held = 1 where user_id = $1 and credit_type = 'credits'", user);
        for (var raised = 2; raised >= 0; raised -= 2)
        {
            var result = (await RunAsync(8, ["work", "verify", "--once", "--json"])).GetProperty("result");
            Assert.Equal((2, raised), (result.Number("openDiscrepancies"), result.GetProperty("runs")[0].Number("raised")));
        }
        await RunAsync(0, ["work", "keys", "--once", "--json"]);
    }

    [Fact]
    public async Task Without_once_it_works_until_it_is_told_to_stop()
    {
        var user = await _db.Account(100);
        await _db.Run("select credits.reserve_credits($1, 'send_email', p_ttl => '1 second')", user);
        using var host = HostProcess.Start(["work", "settle", "verify"], Environment(("Worker__Intervals__settle", "00:00:01")));
        await Eventually.TrueAsync(async () => await _db.Value<long>("select count(*) from credits.credit_reservations where status = 'lapsed'") == 1, "Nothing was settled.");
        await Eventually.TrueAsync(async () => await _db.Value<long>("select count(*) from credits.worker_sweeps where ended_at is not null") == 1, "Nothing was verified.");
        var (exitCode, output, _) = await host.TerminateAsync();
        Assert.Equal(0, exitCode);
        Assert.Contains("At work: settle, verify.", output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Wrong_usage_wrong_settings_and_a_database_that_is_not_migrated_are_told()
    {
        Assert.Equal(2, (await HostProcess.RunAsync(["work", "setle", "--once"], environment: Environment())).ExitCode);
        var settings = await RunAsync(2, ["work", "--once", "--json"], ("Worker__Intervals__settle", "00:00:00"));
        Assert.Contains("Worker:Intervals:settle", settings.GetProperty("error").Text("message"), StringComparison.Ordinal);
        await RunAsync(2, ["work", "--once", "--json"], ("Worker__PurchaseAge", "long"));
        await RunAsync(1, ["work", "--once", "--json", "--connection", "Host=127.0.0.1;Port=1;Username=u;Timeout=2"]);

        await using var empty = await server.CreateDatabaseAsync();
        var result = await RunAsync(3, ["work", "--once", "--json", "--connection", empty.ConnectionString]);
        Assert.Equal("notMigrated", result.GetProperty("result").Text("problem"));
    }

    private static decimal Runs(JsonElement document, string job) =>
        document.GetProperty("result").GetProperty("runs").EnumerateArray().Single(r => r.Text("job") == job).Number("items");

    private Dictionary<string, string?> Environment(params (string Name, string Value)[] more) =>
        more.Prepend(("ConnectionStrings__CreditDb", _db.ConnectionString)).ToDictionary(e => e.Item1, e => (string?)e.Item2);

    private async Task<JsonElement> RunAsync(int exitCode, string[] arguments, params (string Name, string Value)[] environment)
    {
        var result = await HostProcess.RunAsync(arguments, environment: Environment(environment));
        Assert.True(exitCode == result.ExitCode, $"{result.ExitCode}: {result.Output}{result.Error}");
        return JsonDocument.Parse(result.Output).RootElement;
    }
}

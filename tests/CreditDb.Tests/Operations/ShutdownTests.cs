using System.Net.Http.Headers;
using CreditDb.Tests.Api;
using Npgsql;

namespace CreditDb.Tests.Operations;

/// <summary>A host that is told to stop finishes what it accepted.</summary>
public sealed class ShutdownTests(ApiHost host) : IClassFixture<ApiHost>
{
    private const int InFlight = 50;

    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Requests_under_way_are_answered_and_charged_new_ones_find_nobody()
    {
        var user = await host.Database.Account(1000);
        using var process = Start("--Operations:DrainSeconds=5");
        var address = await process.AddressAsync();
        using var client = Client(address);
        await client.Get("/health/ready").JsonAsync();

        Task<HttpResponseMessage>[] requests;
        Task<(int ExitCode, string Output, string Error)> ending;
        await using (await LockAsync(user))
        {
            requests = [.. Enumerable.Range(0, InFlight).Select(i => DeductAsync(client, user, $"key {i}"))];
            await WaitForAsync(user);
            ending = process.TerminateAsync();

            // First the probe says so, while requests are still taken; then nobody is let in.
            await Eventually.TrueAsync(async () => (int)(await client.Get("/health/ready")).StatusCode == 503, "The probe did not say that the host stops.");
            await client.Get("/health/ready").ProblemAsync(503, "stopping");
            await client.Get($"/api/credits/balance?userId={user}").JsonAsync();
            await Eventually.TrueAsync(() => IsRefusedAsync(address), "A host that stops still took connections.");
            Assert.All(requests, r => Assert.False(r.IsCompleted));
        }

        foreach (var request in requests)
            await request.JsonAsync();
        Assert.Equal((InFlight, 1000 - InFlight * 5), (await host.Database.Charges(user), await host.Database.Balance(user)));
        Assert.Equal(0, (await ending).ExitCode);
    }

    [Fact]
    public async Task A_request_that_took_too_long_is_cut_off_and_charged_once_when_repeated()
    {
        var user = await host.Database.Account(1000);
        using var process = Start("--Operations:ShutdownSeconds=1");
        using var client = Client(await process.AddressAsync());

        Task<HttpResponseMessage>[] requests;
        await using (await LockAsync(user))
        {
            requests = [.. Enumerable.Range(0, InFlight).Select(i => DeductAsync(client, user, $"key {i}"))];
            await WaitForAsync(user);
            Assert.Equal(0, (await process.TerminateAsync()).ExitCode);
            foreach (var request in requests)
                await Assert.ThrowsAnyAsync<HttpRequestException>(() => request);
        }

        // Some may have been charged when the lock went, before the database noticed that their host is gone.
        for (var i = 0; i < InFlight; i++)
            Assert.Equal(5, (await host.Service.Post("/api/credits/deduct", new { userId = user, actionType = "create_agent" }, $"key {i}").JsonAsync()).Number("creditsDeducted"));
        Assert.Equal((InFlight, 1000 - InFlight * 5), (await host.Database.Charges(user), await host.Database.Balance(user)));
    }

    [Fact]
    public async Task In_full_traffic_every_answered_charge_is_in_the_ledger_and_every_other_one_can_be_repeated()
    {
        var user = await host.Database.Account(100_000);
        using var process = Start();
        using var client = Client(await process.AddressAsync());
        var answered = new List<string>();
        var unanswered = new List<string>();
        var callers = Enumerable.Range(0, InFlight).Select(async caller =>
        {
            for (var n = 0; ; n++)
            {
                var key = $"{caller} {n}";
                try
                {
                    await DeductAsync(client, user, key).JsonAsync();
                    lock (answered)
                        answered.Add(key);
                }
                catch (HttpRequestException)
                {
                    lock (unanswered)
                        unanswered.Add(key);
                    return;
                }
            }
        }).ToList();
        await Eventually.TrueAsync(() => answered.Count > 200, "There is no traffic.");
        var (exitCode, _, error) = await process.TerminateAsync();
        await Task.WhenAll(callers);

        Assert.Equal((0, "", InFlight), (exitCode, error, unanswered.Count));
        var charged = await host.Database.Column<string>("select idempotency_key from credits.credit_ledger where user_id = $1 and idempotency_key is not null", user);
        Assert.Equal([], answered.Except(charged));
        foreach (var key in unanswered)
            await host.Service.Post("/api/credits/deduct", new { userId = user, actionType = "create_agent" }, key).JsonAsync();
        Assert.Equal(answered.Count + unanswered.Count, await host.Database.Charges(user));
    }

    private HostProcess Start(params string[] settings) =>
        HostProcess.Start(settings, new Dictionary<string, string?> { ["ConnectionStrings__CreditDb"] = host.Database.ConnectionString });

    private HttpClient Client(Uri address) => new()
    {
        BaseAddress = address,
        DefaultRequestHeaders = { Authorization = new AuthenticationHeaderValue("Bearer", host.Service.DefaultRequestHeaders.Authorization!.Parameter) },
    };

    private static Task<HttpResponseMessage> DeductAsync(HttpClient client, Guid user, string key) =>
        client.Post("/api/credits/deduct", new { userId = user, actionType = "create_agent" }, key);

    /// <summary>Keeps every charge of the user waiting.</summary>
    private async Task<NpgsqlConnection> LockAsync(Guid user)
    {
        var connection = new NpgsqlConnection(new NpgsqlConnectionStringBuilder(host.Database.ConnectionString) { Pooling = false }.ConnectionString);
        await connection.OpenAsync(Ct);
        await connection.Run("begin");
        await connection.Run("select from credits.wallets where user_id = $1 for update", user);
        return connection;
    }

    /// <summary>The first charge waits for the account; the others, which wait behind it in the host, get the time to arrive.</summary>
    private async Task WaitForAsync(Guid user)
    {
        await Eventually.TrueAsync(
            async () => await host.Database.Value<long>(
                "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock' and query like '%deduct_credits_for_action%' and $1 is not null", user) > 0,
            "No charge arrived.");
        await Task.Delay(2000, Ct);
    }

    private static async Task<bool> IsRefusedAsync(Uri address)
    {
        using var stranger = new HttpClient { BaseAddress = address };
        try
        {
            await stranger.Get("/health/live");
            return false;
        }
        catch (HttpRequestException)
        {
            return true;
        }
    }
}

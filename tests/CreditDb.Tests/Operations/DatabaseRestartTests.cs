using System.Diagnostics;
using System.Net.Http.Headers;
using CreditDb.Host.Access;
using CreditDb.Host.PrivatePostgres;
using CreditDb.Tests.Api;
using Microsoft.AspNetCore.Mvc.Testing;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Npgsql;

namespace CreditDb.Tests.Operations;

/// <summary>The database goes away in the middle of traffic and comes back: nothing is lost, nothing is charged twice.</summary>
public sealed class DatabaseRestartTests : IDisposable
{
    private const int Callers = 16;

    private readonly string _folder = TestFolder.Create();

    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public async Task Every_key_is_charged_once_whatever_happens_to_the_database()
    {
        var server = await StartAsync(0);
        try
        {
            await using var factory = new WebApplicationFactory<Program>().WithWebHostBuilder(web => web
                .UseSetting("ConnectionStrings:CreditDb", server.ConnectionString)
                .UseSetting("Operations:MetricsAreOpen", "true"));
            var client = factory.CreateClient();
            var key = await factory.Services.GetRequiredService<ApiKeys>().CreateAsync("restarts", ["service"], null, null, "test", Ct);
            client.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", key.Key);
            var user = Guid.NewGuid();
            await RunAsync(server, $"select credits.open_account('{user}', 'paid'); select credits.add_purchased_credits('{user}', 1000000)");

            using var stop = new CancellationTokenSource();
            var (done, away) = (0, 0);
            async Task<int> DeductUntilAnsweredAsync(string name)
            {
                for (var tries = 1; ; tries++)
                {
                    using var answer = await client.Post("/api/credits/deduct", new { userId = user, actionType = "send_email" }, name);
                    if (answer.IsSuccessStatusCode)
                        return tries;
                    await Task.FromResult(answer).ProblemAsync(503, (await answer.Content.ReadAsStringAsync(Ct)).Contains("busy", StringComparison.Ordinal) ? "busy" : "database_unavailable");
                    Assert.Equal(TimeSpan.FromSeconds(1), answer.Headers.RetryAfter?.Delta);
                    Interlocked.Increment(ref away);
                    await Task.Delay(50, Ct);
                }
            }

            var callers = Enumerable.Range(0, Callers).Select(caller => Task.Run(async () =>
            {
                for (var n = 0; !stop.IsCancellationRequested; n++)
                {
                    await DeductUntilAnsweredAsync($"{caller} {n}");
                    Interlocked.Increment(ref done);
                }
            }, Ct)).ToList();
            Task Traffic()
            {
                var before = Volatile.Read(ref done);
                return Eventually.TrueAsync(() => Volatile.Read(ref done) > before + 200 || callers.Exists(c => c.IsFaulted), "There is no traffic.");
            }

            await Traffic();
            await server.DisposeAsync();
            await Eventually.TrueAsync(async () => (int)(await client.Get("/health/ready")).StatusCode == 503, "The host is ready without a database.");
            await client.Get("/health/ready").ProblemAsync(503, "database_unavailable");
            await client.Get("/health/live").JsonAsync();
            await Eventually.TrueAsync(() => Volatile.Read(ref away) > 0, "Nobody was told that the database is away.");
            var page = await (await client.Get("/metrics")).Content.ReadAsStringAsync(Ct);
            Assert.Contains("creditdb_operation_retries_total{operation=\"deduct_credits_", page, StringComparison.Ordinal);

            server = await StartAsync(server.Port);
            await Traffic();
            using (var postmaster = Process.GetProcessById(server.Postmaster))
                postmaster.Kill();
            await server.Exited.WaitAsync(TimeSpan.FromSeconds(30), Ct);
            await server.DisposeAsync();
            server = await StartAsync(server.Port);
            await Traffic();
            await stop.CancelAsync();
            await Task.WhenAll(callers);
            await Eventually.TrueAsync(async () => (await client.Get("/health/ready")).IsSuccessStatusCode, "The host stayed unready.");

            Assert.Equal(done, await ValueAsync<long>(server, $"select count(*) from credits.credit_usage_logs where user_id = '{user}'"));
            Assert.Equal(done, await ValueAsync<long>(server, $"select count(idempotency_key) from credits.credit_ledger where user_id = '{user}'"));
            Assert.Equal(1000000 - done * 0.5m, await ValueAsync<decimal>(server, $"select (credits.get_credit_balance('{user}') ->> 'total')::numeric"));
            Assert.Equal(0, await ValueAsync<long>(server, "select count(*) from credits.verify_ledger()"));
        }
        finally
        {
            await server.DisposeAsync();
        }
    }

    /// <summary>A server whose data stay; port 0: any.</summary>
    private Task<PrivateServer> StartAsync(int port)
    {
        var settings = new Dictionary<string, string?> { ["CREDITDB_DATA"] = _folder, ["CREDITDB_PORT"] = $"{port}" };
        var configuration = new ConfigurationBuilder().AddEnvironmentVariables().AddInMemoryCollection(settings).Build();
        return PrivateServer.StartAsync(PrivateServerOptions.Kept(configuration) with { Report = line => Assert.DoesNotContain("another program", line, StringComparison.Ordinal) }, Ct);
    }

    private static async Task RunAsync(PrivateServer server, string sql)
    {
        await using var connection = await OpenAsync(server);
        await connection.Run(sql);
    }

    private static async Task<T> ValueAsync<T>(PrivateServer server, string sql)
    {
        await using var connection = await OpenAsync(server);
        return await connection.Value<T>(sql);
    }

    private static async Task<NpgsqlConnection> OpenAsync(PrivateServer server)
    {
        var connection = new NpgsqlConnection(new NpgsqlConnectionStringBuilder(server.ConnectionString) { Pooling = false }.ConnectionString);
        await connection.OpenAsync(Ct);
        return connection;
    }
}

using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Text;
using CreditDb.Host.PrivatePostgres;
using CreditDb.Migrations;
using Microsoft.AspNetCore.Mvc.Testing;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Npgsql;

namespace CreditDb.Tests.Api;

/// <summary>Live updates as a server has them: many readers, slow ones, none, a clock that moves, and a database that goes away.</summary>
public sealed class LiveServerTests(ApiHost host) : IClassFixture<ApiHost>
{
    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Five_hundred_streams_each_get_theirs_and_nobody_elses()
    {
        // 300 users with a stream of their own, 20 users with ten streams each.
        await using var app = host.Configured([("Access:KeyRequestsPerSecond", "100000")]);
        using var service = Service(app);
        var users = Enumerable.Range(0, 320).Select(_ => Guid.NewGuid()).ToArray();
        await host.Database.Run(
            "select credits.open_account(u, 'paid'), credits.add_purchased_credits(u, 1000 + n) from unnest($1) with ordinality as t (u, n) order by u", [users]);
        var streams = new List<(int User, EventStream Stream)>();
        foreach (var (user, i) in users.Select((user, i) => (user, i)))
        {
            for (var n = 0; n < (i < 300 ? 1 : 10); n++)
                streams.Add((i, await EventStream.OpenAsync(service, $"?userId={user}")));
        }

        Assert.Equal(500, streams.Count);
        foreach (var (user, stream) in streams)
            Assert.Equal(1001 + user, (await stream.NextAsync("snapshot")).GetProperty("balances")[0].Number("total"));

        // Three charges of each user, as many credits as nobody else is charged.
        var began = Stopwatch.GetTimestamp();
        for (var round = 0; round < 3; round++)
            await host.Database.Run($"select credits.deduct_credits_for_action(u, 'prompt_formatting', n * 0.001) from unnest($1) with ordinality as t (u, n) order by u", [users]);
        await Task.WhenAll(streams.Select(async s =>
        {
            var mine = (s.User + 1) * 0.001m;
            var seen = await s.Stream.UntilBalanceAsync(1001 + s.User - (3 * mine));
            Assert.Equal([-mine, -mine, -mine], seen.Where(e => e.Type == "entry").Select(e => e.Data.Number("amount")));
        }));
        var took = Stopwatch.GetElapsedTime(began);
        Assert.True(took < TimeSpan.FromSeconds(10), $"It took {took}.");
        TestContext.Current.SendDiagnosticMessage($"500 streams, 960 charges, 1500 entries delivered: {took}");
        foreach (var (_, stream) in streams)
            await stream.QuietAsync(0);
        await Task.WhenAll(streams.Select(s => s.Stream.DisposeAsync().AsTask()));
        await Eventually.TrueAsync(() => LiveTests.Streams(app.Services) == 0, "Streams that were left were not noticed.");
    }

    [Fact]
    public async Task While_nobody_watches_nothing_is_read()
    {
        using var statements = new Statements();
        await using var source = new NpgsqlDataSourceBuilder(host.Database.ConnectionString).UseLoggerFactory(statements).Build();
        await using var app = host.Configured([("Live:PollMilliseconds", "50")], services => services.AddSingleton(source));
        using var service = Service(app);
        var user = await host.Database.Account(5);

        Assert.Equal(0, await WithinAsync(2));
        await using (var stream = await EventStream.OpenAsync(service, $"?userId={user}"))
        {
            await stream.NextAsync("snapshot");
            Assert.InRange(await WithinAsync(2), 10, 45);
        }

        await Eventually.TrueAsync(() => LiveTests.Streams(app.Services) == 0, "The stream that was left was not noticed.");
        await Task.Delay(200, Ct);
        Assert.Equal(0, await WithinAsync(2));

        async Task<int> WithinAsync(int seconds)
        {
            var before = statements.Count;
            await Task.Delay(TimeSpan.FromSeconds(seconds), Ct);
            return statements.Count - before;
        }
    }

    [Fact]
    public async Task What_falls_due_is_shown_when_its_time_comes()
    {
        var user = Guid.NewGuid();
        await host.Database.Run("select credits.open_account($1, 'free')", user);
        await host.Database.Run("select credits.grant_credits($1, 7, 'promotional', credits.clock_now() + interval '5 seconds')", user);
        await host.Database.Run("select credits.reserve_credits($1, 'create_agent', 1, interval '8 seconds')", user);
        await using var stream = await EventStream.OpenAsync(host.Service, $"?userId={user}");
        Assert.Equal(102, (await stream.NextAsync("snapshot")).GetProperty("balances")[0].Number("total"));

        // Nobody writes: the balance changes by time alone, twice.
        var began = Stopwatch.GetTimestamp();
        var events = await stream.UntilBalanceAsync(95);
        events.AddRange(await stream.UntilBalanceAsync(100));
        Assert.InRange(Stopwatch.GetElapsedTime(began).TotalSeconds, 2, 10);
        var id = stream.LastId;
        await stream.DisposeAsync();

        // The entries come when they are written, also to those who went away.
        await host.Database.Run("select credits.settle_due_wallets(1000)");
        await using var back = await EventStream.OpenAsync(host.Service, $"?userId={user}", id);
        await host.Database.Run("select credits.deduct_credits_for_action($1, 'prompt_formatting')", user);
        events.AddRange(await back.UntilBalanceAsync(99));
        Assert.Equal(["expiry -7", "release 5", "usage -1"], events.Where(e => e.Type == "entry").Select(e => $"{e.Data.Text("kind")} {e.Data.Number("amount")}"));
    }

    [Fact]
    public async Task A_reader_that_does_not_read_is_dropped_and_nothing_is_kept_for_it()
    {
        var user = await host.Database.Account(1_000_000);
        await using var app = host.Configured([("Live:WriteTimeoutSeconds", "1"), ("Urls", "http://127.0.0.1:0")]);
        app.UseKestrel(0);
        app.StartServer();
        var address = new Uri(app.ClientOptions.BaseAddress.ToString());
        using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { ReceiveBufferSize = 4096 };
        await socket.ConnectAsync(IPAddress.Loopback, address.Port, Ct);
        await socket.SendAsync(Encoding.ASCII.GetBytes(
            $"GET /api/usage/events?userId={user} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {host.Service.DefaultRequestHeaders.Authorization}\r\n\r\n"), Ct);
        await Eventually.TrueAsync(() => LiveTests.Streams(app.Services) == 1, "The stream did not begin.");
        using var client = new HttpClient { BaseAddress = address };
        client.DefaultRequestHeaders.Authorization = host.Service.DefaultRequestHeaders.Authorization;
        await using var good = await EventStream.OpenAsync(client, $"?userId={user}");
        await good.NextAsync("snapshot");

        // Several megabytes, more than all buffers in between. The good reader keeps up: one that is 10,000 entries behind would begin anew with a snapshot.
        var entries = 0;
        for (var i = 1; i <= 24; i++)
        {
            await host.Database.Run(
                "select credits.deduct_credits_for_action($1, 'prompt_formatting', 1, null, '{}') from generate_series(1, 1000)", user);
            entries += (await good.UntilBalanceAsync(1_000_000 - (i * 1000))).Count(e => e.Type == "entry");
        }

        Assert.Equal(24_000, entries);
        await Eventually.TrueAsync(() => LiveTests.Streams(app.Services) == 1, "The reader that does not read was not dropped.");
        Assert.False(good.Ended.IsCompleted);
    }

    [Fact]
    public async Task The_example_client_follows_a_user_through_a_restart_of_the_host()
    {
        var node = Tools.Find("node");
        Assert.SkipUnless(node is not null, "Node.js is not installed.");
        var user = await host.Database.Account(10);
        var (folder, port) = (TestFolder.Create(), FreePort());
        var script = Path.Combine(folder, "follow.mjs");
        await File.WriteAllTextAsync(script, $$"""
            import { follow } from '{{new Uri(Path.Combine(Pages.Repository, "docs/examples/live-updates.mjs"))}}';
            const stop = follow({
              url: 'http://127.0.0.1:{{port}}/api/usage/events?userId={{user}}',
              token: async () => process.env.KEY,
              on: {
                snapshot: s => console.log('snapshot', s.balances[0].total),
                entry: e => console.log('entry', e.entryNo),
                balance: b => { console.log('balance', b.total); if (b.total === 7) stop(); },
                end: e => console.log('end', e.reason),
              },
            });
            """, Ct);
        var environment = new Dictionary<string, string?> { ["ConnectionStrings__CreditDb"] = host.Database.ConnectionString, ["URLS"] = $"http://127.0.0.1:{port}" };
        var start = new ProcessStartInfo(node, [script]) { RedirectStandardOutput = true, Environment = { ["KEY"] = host.Service.DefaultRequestHeaders.Authorization!.Parameter } };
        using var client = Process.Start(start)!;
        try
        {
            var lines = new List<string?>();
            async Task UntilAsync(string line)
            {
                do
                    lines.Add(await client.StandardOutput.ReadLineAsync(Ct).AsTask().WaitAsync(TimeSpan.FromSeconds(60), Ct));
                while (lines[^1] is { } last && last != line);
                Assert.Equal(line, lines[^1]);
            }

            using (var first = HostProcess.Start([], environment))
            {
                await UntilAsync("snapshot 10");
                await host.Database.Run("select credits.deduct_credits_for_action($1, 'prompt_formatting')", user);
                await UntilAsync("balance 9");
                var began = Stopwatch.GetTimestamp();
                Assert.Equal(0, (await first.TerminateAsync()).ExitCode);
                Assert.True(Stopwatch.GetElapsedTime(began) < TimeSpan.FromSeconds(10), "A stream kept the host from stopping.");
                await UntilAsync("end shutdown");
            }

            await host.Database.Run("select credits.deduct_credits_for_action($1, 'prompt_formatting')", user);
            await host.Database.Run("select credits.deduct_credits_for_action($1, 'prompt_formatting')", user);
            using var second = HostProcess.Start([], environment);
            await UntilAsync("balance 7");
            Assert.Equal(["snapshot 10", "entry 2", "balance 9", "end shutdown", "entry 3", "entry 4", "balance 7"], lines);
            await client.WaitForExitAsync(Ct).WaitAsync(TimeSpan.FromSeconds(10), Ct);
        }
        finally
        {
            if (!client.HasExited)
                client.Kill();
            Directory.Delete(folder, recursive: true);
        }
    }

    [Fact]
    public async Task A_restart_of_the_database_ends_no_stream_and_loses_nothing()
    {
        var folder = TestFolder.Create();
        try
        {
            var options = PrivateServerOptions.Throwaway() with { KeptIn = folder, PreferredPort = FreePort() };
            var server = await PrivateServer.StartAsync(options, Ct);
            try
            {
                await using (var source = NpgsqlDataSource.Create(server.ConnectionString))
                    await new Migrator(source).MigrateAsync(null, Ct);
                await using var app = host.Configured([("ConnectionStrings:CreditDb", server.ConnectionString), ("Live:HeartbeatSeconds", "1")]);
                using var service = app.CreateClient();
                var key = await app.Services.GetRequiredService<Host.Access.ApiKeys>().CreateAsync("t", ["service"], null, null, "test", Ct);
                service.DefaultRequestHeaders.Authorization = new("Bearer", key.Key);
                var user = Guid.NewGuid();
                await RunAsync(server, "select credits.open_account($1, 'paid'), credits.add_purchased_credits($1, 100)", user);
                await using var stream = await EventStream.OpenAsync(service, $"?userId={user}");
                await using var same = await EventStream.OpenAsync(service, $"?userId={user}");
                await stream.NextAsync("snapshot");
                await same.NextAsync("snapshot");
                await RunAsync(server, "select credits.deduct_credits_for_action($1, 'prompt_formatting')", user);
                await stream.UntilBalanceAsync(99);
                await same.UntilBalanceAsync(99);

                await RunAsync(server, "select credits.deduct_credits_for_action($1, 'prompt_formatting')", user);
                await server.DisposeAsync();
                var beats = stream.Heartbeats;
                await Eventually.TrueAsync(() => stream.Heartbeats >= beats + 2, "There were no signs of life while the database was away.");
                Assert.False(stream.Ended.IsCompleted);
                server = await PrivateServer.StartAsync(options, Ct);
                await RunAsync(server, "select credits.deduct_credits_for_action($1, 'prompt_formatting')", user);

                foreach (var s in new[] { stream, same })
                    Assert.Equal([3, 4], (await s.UntilBalanceAsync(97)).Where(e => e.Type == "entry").Select(e => (int)e.Data.Number("entryNo")));
            }
            finally
            {
                await server.DisposeAsync();
            }
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private static async Task RunAsync(PrivateServer server, string sql, Guid user)
    {
        await using var connection = new NpgsqlConnection(new NpgsqlConnectionStringBuilder(server.ConnectionString) { Pooling = false }.ConnectionString);
        await connection.OpenAsync(Ct);
        await connection.Run(sql, user);
    }

    private static int FreePort()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }

    private HttpClient Service(WebApplicationFactory<Program> app)
    {
        var client = app.CreateClient();
        client.DefaultRequestHeaders.Authorization = host.Service.DefaultRequestHeaders.Authorization;
        return client;
    }

    /// <summary>Counts the statements that live updates make, by the log of their data source.</summary>
    private sealed class Statements : ILoggerFactory, ILogger
    {
        private int _count;

        public int Count => _count;

        public ILogger CreateLogger(string categoryName) => categoryName == "Npgsql.Command" ? this : Microsoft.Extensions.Logging.Abstractions.NullLogger.Instance;

        public void AddProvider(ILoggerProvider provider)
        {
        }

        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => logLevel >= LogLevel.Information;

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
        {
            if (logLevel >= LogLevel.Information && formatter(state, exception) is var text
                && (text.Contains("get_change", StringComparison.Ordinal) || text.Contains("find_api_key", StringComparison.Ordinal)))
                Interlocked.Increment(ref _count);
        }

        public void Dispose()
        {
        }
    }
}

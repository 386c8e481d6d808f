using System.Diagnostics;
using CreditDb.Host.PrivatePostgres;
using Microsoft.Extensions.Configuration;
using Npgsql;

namespace CreditDb.Tests;

public sealed class PrivateServerTests : IDisposable
{
    private readonly string _root = TestFolder.Create();

    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    public void Dispose() => Directory.Delete(_root, recursive: true);

    [Fact]
    public async Task A_throwaway_server_leaves_neither_folder_nor_process()
    {
        var server = await PrivateServer.StartAsync(PrivateServerOptions.Throwaway(), Ct);
        Assert.Equal("200", await ScalarAsync(server.ConnectionString, "show max_connections"));
        Assert.StartsWith(server.Version, (string?)await ScalarAsync(server.ConnectionString, "show server_version"), StringComparison.Ordinal);

        await server.DisposeAsync();

        Assert.False(Directory.Exists(server.Folder));
        Assert.False(Runs(server.Postmaster));
    }

    [Fact]
    public async Task Keeps_data_password_and_port_between_starts()
    {
        // Between the starts the port is anybody's: whoever takes it, and the server says so, gets it, and it begins anew on another one.
        var taken = new List<string>();
        var isKept = false;
        for (var attempt = 1; attempt <= 5 && !isKept; attempt++)
        {
            var configuration = new ConfigurationBuilder().AddEnvironmentVariables()
                .AddInMemoryCollection(new Dictionary<string, string?> { ["CREDITDB_DATA"] = Path.Combine(_root, $"{attempt}"), ["CREDITDB_PORT"] = $"{Random.Shared.Next(20_000, 25_000)}" }).Build();
            var options = PrivateServerOptions.Kept(configuration) with { Report = taken.Add };
            taken.Clear();
            string first;
            await using (var server = await PrivateServer.StartAsync(options, Ct))
            {
                first = server.ConnectionString;
                await ScalarAsync(first, "create table kept as select 7 as seven");
                Assert.Equal("on", await ScalarAsync(first, "show fsync"));
            }

            await using (var server = await PrivateServer.StartAsync(options, Ct))
            {
                Assert.Equal(7, await ScalarAsync(server.ConnectionString, "select seven from kept"));
                Assert.Equal(new NpgsqlConnectionStringBuilder(first).Password, new NpgsqlConnectionStringBuilder(server.ConnectionString).Password);
                isKept = !taken.Exists(line => line.Contains("another program", StringComparison.Ordinal));
                if (isKept)
                    Assert.Equal((first, options.PreferredPort), (server.ConnectionString, server.Port));
            }
        }

        Assert.True(isKept, string.Join('\n', taken));
    }

    [Fact]
    public async Task Keeps_to_the_version_that_has_data()
    {
        Directory.CreateDirectory(Path.Combine(_root, "postgresql-99", "data"));

        var options = Kept();
        options = options with { Search = options.Search with { BinFolder = null, Major = null } };

        var error = await Assert.ThrowsAsync<PrivatePostgresException>(() => PrivateServer.StartAsync(options, Ct));

        Assert.Contains("(version 99)", error.Message, StringComparison.Ordinal);
        Assert.Contains(_root, error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Takes_another_port_and_says_so_if_the_preferred_one_is_taken()
    {
        await using var other = await PrivateServer.StartAsync(PrivateServerOptions.Throwaway(), Ct);
        var said = new List<string>();

        await using var server = await PrivateServer.StartAsync(Kept() with { PreferredPort = other.Port, Report = said.Add }, Ct);

        Assert.NotEqual(other.Port, server.Port);
        Assert.Single(said, line => line.StartsWith($"Port {other.Port} is taken", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Refuses_a_second_start_on_the_same_folder()
    {
        await using var server = await PrivateServer.StartAsync(Kept(), Ct);

        var refusal = await Assert.ThrowsAsync<PrivatePostgresException>(() => PrivateServer.StartAsync(Kept(), Ct));

        Assert.Contains($"process {Environment.ProcessId}", refusal.Message, StringComparison.Ordinal);
        Assert.Contains("-- sql", refusal.Message, StringComparison.Ordinal);
        Assert.Equal(server.ConnectionString, PrivateServer.FindRunning(_root));
        Assert.Equal(1, await ScalarAsync(server.ConnectionString, "select 1"));
    }

    [Fact]
    public async Task Makes_the_data_again_after_an_interrupted_initdb()
    {
        string folder;
        await using (var server = await PrivateServer.StartAsync(Kept(), Ct))
            folder = server.Folder;
        Directory.Move(Path.Combine(folder, "data"), Path.Combine(folder, "unfinished-1"));

        await using (var server = await PrivateServer.StartAsync(Kept(), Ct))
            Assert.Equal(1, await ScalarAsync(server.ConnectionString, "select 1"));
        Assert.Empty(Directory.GetDirectories(folder, "unfinished-*"));
    }

    [Fact]
    public async Task Recovers_after_the_server_was_killed()
    {
        var server = await PrivateServer.StartAsync(Kept(), Ct);
        await ScalarAsync(server.ConnectionString, "create table kept as select 7 as seven");
        using (var postmaster = Process.GetProcessById(server.Postmaster))
            postmaster.Kill();
        await server.Exited;
        Assert.True(File.Exists(Path.Combine(server.Folder, "data", "postmaster.pid")));
        await server.DisposeAsync();

        await using var again = await PrivateServer.StartAsync(Kept(), Ct);

        Assert.Equal(7, await ScalarAsync(again.ConnectionString, "select seven from kept"));
    }

    [Fact]
    public async Task Shows_the_end_of_the_log_if_the_server_does_not_start()
    {
        var options = PrivateServerOptions.Throwaway() with { Settings = new Dictionary<string, string> { ["no_such_setting"] = "1" } };

        var failure = await Assert.ThrowsAsync<PrivatePostgresException>(() => PrivateServer.StartAsync(options, Ct));

        Assert.Contains("no_such_setting", failure.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Ends_with_its_parent_even_on_kill_9_and_starts_again_at_once()
    {
        var environment = HostEnvironment();
        int postmaster;
        using (var host = HostProcess.Start([], environment))
        {
            await host.WaitForLineAsync("Stop ");
            var connectionString = PrivateServer.FindRunning(_root)!;
            await ScalarAsync(connectionString, "create table kept as select 7 as seven");
            postmaster = await PostmasterAsync(connectionString);
            host.Kill();
        }

        using (var host = HostProcess.Start(["serve"], environment))
        {
            await host.WaitForLineAsync("Stop ");
            Assert.False(Runs(postmaster));
            Assert.Equal(7, await ScalarAsync(PrivateServer.FindRunning(_root)!, "select seven from kept"));
            host.Kill();
        }
    }

    [Fact]
    public async Task The_host_stops_its_server_when_it_is_terminated()
    {
        using var host = HostProcess.Start([], HostEnvironment());
        await host.WaitForLineAsync("Stop ");
        var postmaster = await PostmasterAsync(PrivateServer.FindRunning(_root)!);

        var (exitCode, _, error) = await host.TerminateAsync();

        Assert.Equal((0, ""), (exitCode, error));
        Assert.False(Runs(postmaster));
        Assert.Null(PrivateServer.FindRunning(_root));
    }

    [Fact]
    public async Task The_host_fails_if_its_server_ends_by_itself()
    {
        using var host = HostProcess.Start([], HostEnvironment());
        await host.WaitForLineAsync("Stop ");
        using (var postmaster = Process.GetProcessById(await PostmasterAsync(PrivateServer.FindRunning(_root)!)))
            postmaster.Kill();

        var (exitCode, _, error) = await host.EndAsync();

        Assert.Equal(1, exitCode);
        Assert.Contains("PostgreSQL ended by itself", error, StringComparison.Ordinal);
        Assert.Contains("database system is ready to accept connections", error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_second_host_on_the_same_folder_fails_with_the_way_to_connect()
    {
        await using var server = await PrivateServer.StartAsync(Kept(), Ct);

        var (exitCode, _, error) = await HostProcess.RunAsync([], environment: HostEnvironment());

        Assert.Equal(1, exitCode);
        Assert.Contains("-- sql", error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_host_uses_the_configured_server()
    {
        await using var server = await PrivateServer.StartAsync(PrivateServerOptions.Throwaway(), Ct);
        var environment = HostEnvironment();
        environment["ConnectionStrings__CreditDb"] = server.ConnectionString;

        using var host = HostProcess.Start([], environment);
        await host.WaitForLineAsync($"127.0.0.1:{server.Port}");
        var (exitCode, output, _) = await host.TerminateAsync();

        Assert.Equal(0, exitCode);
        Assert.DoesNotContain(new NpgsqlConnectionStringBuilder(server.ConnectionString).Password!, output, StringComparison.Ordinal);
        Assert.Empty(Directory.GetDirectories(_root));
    }

    private Dictionary<string, string?> HostEnvironment() => new() { ["CREDITDB_DATA"] = _root };

    private PrivateServerOptions Kept()
    {
        var configuration = new ConfigurationBuilder().AddEnvironmentVariables().AddInMemoryCollection(HostEnvironment()).Build();
        return PrivateServerOptions.Kept(configuration);
    }

    private static bool Runs(int pid)
    {
        try
        {
            using var process = Process.GetProcessById(pid);
            return process.ProcessName.StartsWith("postgres", StringComparison.Ordinal);
        }
        catch (ArgumentException)
        {
            return false;
        }
    }

    private static async Task<int> PostmasterAsync(string connectionString)
    {
        var file = (string?)await ScalarAsync(connectionString, "select split_part(pg_read_file('postmaster.pid'), e'\\n', 1)");
        return int.Parse(file!, System.Globalization.CultureInfo.InvariantCulture);
    }

    private static async Task<object?> ScalarAsync(string connectionString, string sql)
    {
        var unpooled = new NpgsqlConnectionStringBuilder(connectionString) { Pooling = false };
        await using var connection = new NpgsqlConnection(unpooled.ConnectionString);
        await connection.OpenAsync(Ct);
        await using var command = new NpgsqlCommand(sql, connection);
        return await command.ExecuteScalarAsync(Ct);
    }
}

using System.Globalization;
using CreditDb.Host.PrivatePostgres;
using CreditDb.Migrations;
using Npgsql;

namespace CreditDb.Benchmarks;

/// <summary>A durable PostgreSQL of this run's own, with the accounts that the contestants share.</summary>
internal sealed class BenchServer : IAsyncDisposable
{
    private readonly PrivateServer _server;

    private BenchServer(PrivateServer server, int accounts)
    {
        (_server, Accounts) = (server, accounts);
        // .NET prepares what it runs often, as pgbench does.
        ConnectionString = new NpgsqlConnectionStringBuilder(server.ConnectionString) { MaxPoolSize = 64, MaxAutoPrepare = 50, CommandTimeout = 600, NoResetOnClose = true }.ConnectionString;
        Source = NpgsqlDataSource.Create(ConnectionString);
    }

    public string ConnectionString { get; }

    public NpgsqlDataSource Source { get; }

    public int Accounts { get; }

    public string Version => _server.Version;

    public static async Task<BenchServer> StartAsync(int accounts, Action<string> report, CancellationToken ct)
    {
        report("start PostgreSQL");
        var options = PrivateServerOptions.Throwaway();
        var server = await PrivateServer.StartAsync(
            options with
            {
                // As durable as in production: fsync and synchronous_commit are on.
                Settings = new Dictionary<string, string>
                {
                    ["max_connections"] = "200",
                    ["shared_buffers"] = "1GB",
                    ["max_wal_size"] = "8GB",
                    ["checkpoint_timeout"] = "30min",
                },
            },
            ct);
        var bench = new BenchServer(server, accounts);
        try
        {
            report("migrate");
            await new Migrator(bench.Source).MigrateAsync(cancellationToken: ct);
            report($"load {accounts} accounts");
            var load = await File.ReadAllTextAsync(Path.Combine(AppContext.BaseDirectory, "sql/load.sql"), ct);
            await bench.RunAsync(load.Replace(":accounts", accounts.ToString(CultureInfo.InvariantCulture), StringComparison.Ordinal), ct);
            await bench.RunAsync("vacuum analyze", ct);
            return bench;
        }
        catch
        {
            await bench.DisposeAsync();
            throw;
        }
    }

    public static Guid Account(int n) => Guid.Parse($"00000000-0000-4000-8000-{n:x12}", CultureInfo.InvariantCulture);

    /// <summary>
    /// Until the host's worker has been through all accounts once. What is measured then is a server in its daily life, whose sweeps begin again at their intervals.
    /// </summary>
    public async Task FirstSweepsAsync(CancellationToken ct)
    {
        while (!await ValueAsync<bool>("select bool_and(ended_at is not null) from credits.worker_sweeps", ct))
            await Task.Delay(TimeSpan.FromSeconds(1), ct);
    }

    public async Task RunAsync(string sql, CancellationToken ct)
    {
        await using var command = Source.CreateCommand(sql);
        await command.ExecuteNonQueryAsync(ct);
    }

    public async Task<T> ValueAsync<T>(string sql, CancellationToken ct)
    {
        await using var command = Source.CreateCommand(sql);
        return (T)(await command.ExecuteScalarAsync(ct))!;
    }

    /// <summary>A program of PostgreSQL's, beside the server's own or on the path.</summary>
    public string Tool(string name) => File.Exists(Path.Combine(_server.BinFolder, name)) ? Path.Combine(_server.BinFolder, name) : name;

    public async ValueTask DisposeAsync()
    {
        await Source.DisposeAsync();
        await _server.DisposeAsync();
    }
}

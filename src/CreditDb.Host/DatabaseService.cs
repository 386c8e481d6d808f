using CreditDb.Host.PrivatePostgres;
using CreditDb.Migrations;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.Hosting;
using Npgsql;
using Spectre.Console;

namespace CreditDb.Host;

/// <summary>The database behind this process: finds or starts it, migrates it, says how to reach it, and watches it.</summary>
internal sealed class DatabaseService(IConfiguration configuration, IAnsiConsole console, IHostApplicationLifetime lifetime)
    : BackgroundService
{
    private PrivateServer? _server;

    /// <summary>Why the database ended while it was needed.</summary>
    public string? Failure { get; private set; }

    public override async Task StartAsync(CancellationToken cancellationToken)
    {
        var connectionString = configuration.GetConnectionString("CreditDb");
        if (string.IsNullOrWhiteSpace(connectionString))
        {
            var options = PrivateServerOptions.Kept(configuration) with { Report = line => console.WriteLine(line) };
            _server = await PrivateServer.StartAsync(options, cancellationToken);
            connectionString = _server.ConnectionString;
        }

        try
        {
            await MigrateAsync(connectionString, cancellationToken);
        }
        catch
        {
            await StopServerAsync();
            throw;
        }

        Describe(new NpgsqlConnectionStringBuilder(connectionString));
        await base.StartAsync(cancellationToken);
    }

    public override async Task StopAsync(CancellationToken cancellationToken)
    {
        await base.StopAsync(cancellationToken);
        await StopServerAsync();
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        if (_server is null)
            return;

        try
        {
            await _server.Exited.WaitAsync(stoppingToken);
        }
        catch (OperationCanceledException)
        {
            return;
        }

        Failure = $"PostgreSQL ended by itself. The end of its log, {_server.LogFile}:\n{_server.LogTail}";
        lifetime.StopApplication();
    }

    private async Task MigrateAsync(string connectionString, CancellationToken ct)
    {
        await using var source = NpgsqlDataSource.Create(connectionString);
        var result = await new Migrator(source).MigrateAsync(new Waits(console), ct);
        foreach (var notice in result.Notices)
            console.WriteLine(notice.Message);
        var (once, again) = (result.Applied.Count, result.Reapplied.Count);
        console.WriteLine(once + again == 0 ? "The database is up to date." : $"The database was migrated: {once} scripts run, {again} re-applied.");
    }

    private void Describe(NpgsqlConnectionStringBuilder connection)
    {
        if (_server is null)
        {
            console.WriteLine($"CreditDb is on the configured PostgreSQL: {connection.Host}:{connection.Port}, database {connection.Database}.");
            console.WriteLine("Stop with Ctrl+C.");
            return;
        }

        var url = $"postgresql://{connection.Username}:{connection.Password}@{connection.Host}:{connection.Port}/{connection.Database}";
        console.WriteLine($"CreditDb runs on a private PostgreSQL {_server.Version} ({_server.BinFolder}).");
        console.WriteLine($"  Data     {_server.Folder}");
        console.WriteLine($"  URL      {url}");
        console.WriteLine(Psql() is { } psql ? $"  Connect  {psql} \"{url}\"" : "  Connect  dotnet run --project src/CreditDb.Host -- sql");
        console.WriteLine("  Stop     Ctrl+C; the data stay");
    }

    private string? Psql()
    {
        var name = OperatingSystem.IsWindows() ? "psql.exe" : "psql";
        if (PostgresSearch.From(configuration).FindOnPath(name) is not null)
            return "psql";
        var beside = Path.Combine(_server!.BinFolder, name);
        return !File.Exists(beside) ? null : beside.Contains(' ') ? $"\"{beside}\"" : beside;
    }

    private async Task StopServerAsync()
    {
        if (_server is not null)
            await _server.DisposeAsync();
        _server = null;
    }

    private sealed class Waits(IAnsiConsole console) : IProgress<MigrationProgress>
    {
        public void Report(MigrationProgress value)
        {
            if (value.Kind is MigrationProgressKind.Waiting or MigrationProgressKind.Retrying)
                console.WriteLine(value.Message);
        }
    }
}

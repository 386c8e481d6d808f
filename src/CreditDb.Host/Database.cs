using CreditDb.Host.Commands;
using CreditDb.Host.PrivatePostgres;
using CreditDb.Migrations;
using Microsoft.Extensions.Options;
using Npgsql;
using Spectre.Console;

namespace CreditDb.Host;

/// <summary>The database behind this process: the configured one, or a private server that ends with the process. Reads the settings when it is made.</summary>
internal sealed class Database(IConfiguration configuration, IAnsiConsole console) : IAsyncDisposable
{
    private readonly DatabaseOptions _options = DatabaseOptions.From(configuration);
    private NpgsqlConnectionStringBuilder? _connection =
        configuration.GetConnectionString("CreditDb") is { } configured && !string.IsNullOrWhiteSpace(configured) ? Parse(configured) : null;

    /// <summary>Whether the database is a private server's, as none is configured.</summary>
    public bool IsPrivate { get; } = string.IsNullOrWhiteSpace(configuration.GetConnectionString("CreditDb"));

    /// <summary>The private server; null before it is started, and if the database is a configured one.</summary>
    public PrivateServer? Server { get; private set; }

    private NpgsqlConnectionStringBuilder Connection => _connection ?? throw new InvalidOperationException("The private server has not been started.");

    /// <summary>Starts the private server, if it is that, and migrates the database, or only looks whether it is current.</summary>
    public async Task StartAsync(CancellationToken ct)
    {
        if (IsPrivate)
        {
            Server = await PrivateServer.StartAsync(PrivateServerOptions.Kept(configuration) with { Report = line => console.WriteLine(line) }, ct);
            _connection = Parse(Server.ConnectionString);
        }

        await (_options.Migrate ? MigrateAsync(ct) : CheckAsync(ct));
    }

    /// <summary>The connections of everything that serves.</summary>
    public NpgsqlDataSource CreateDataSource(string name = "creditdb serve", int? maxPoolSize = null)
    {
        var settings = new NpgsqlConnectionStringBuilder(Connection.ConnectionString) { ApplicationName = name };
        settings.MaxPoolSize = maxPoolSize ?? settings.MaxPoolSize;
        settings.MinPoolSize = Math.Min(settings.MinPoolSize, settings.MaxPoolSize);
        return EngineConnections.Create(settings, name);
    }

    public Migrator CreateMigrator(NpgsqlDataSource source) =>
        new(source, new MigratorOptions { RolePrefix = _options.RolePrefix, WithoutApp = _options.WithoutApp });

    /// <summary>How to reach what runs here.</summary>
    public IEnumerable<string> Describe(IEnumerable<string> addresses)
    {
        var http = $"  HTTP     {string.Join(' ', addresses)}";
        if (Server is null)
        {
            return
            [
                $"CreditDb is on the configured PostgreSQL: {Connection.Host}:{Connection.Port}, database {Connection.Database}.",
                http,
                "  Stop     Ctrl+C",
            ];
        }

        var url = $"postgresql://{Connection.Username}:{Connection.Password}@{Connection.Host}:{Connection.Port}/{Connection.Database}";
        return
        [
            $"CreditDb runs on a private PostgreSQL {Server.Version} ({Server.BinFolder}).",
            $"  Data     {Server.Folder}",
            $"  URL      {url}",
            Psql() is { } psql ? $"  Connect  {psql} \"{url}\"" : "  Connect  dotnet run --project src/CreditDb.Host -- sql",
            http,
            "  Stop     Ctrl+C; the data stay",
        ];
    }

    public async ValueTask DisposeAsync()
    {
        if (Server is not null)
            await Server.DisposeAsync();
    }

    private async Task MigrateAsync(CancellationToken ct)
    {
        await using var source = NpgsqlDataSource.Create(Connection);
        var result = await CreateMigrator(source).MigrateAsync(new Waits(console), ct);
        foreach (var notice in result.Notices)
            console.WriteLine(notice.Message);
        var (once, again) = (result.Applied.Count, result.Reapplied.Count);
        console.WriteLine(once + again == 0 ? "The database is up to date." : $"The database was migrated: {once} scripts run, {again} re-applied.");
    }

    private async Task CheckAsync(CancellationToken ct)
    {
        await using var source = NpgsqlDataSource.Create(Connection);
        var plan = await CreateMigrator(source).PlanAsync(ct);
        string[] pending = [.. plan.Transactions.SelectMany(t => t).Where(s => s.State != ScriptState.Applied).Select(s => s.Name)];
        if (plan.Transactions.Count > 0)
        {
            throw new MigrationException(
                MigrationProblem.Pending,
                $"The database is older than this program: {pending.Length} scripts are pending, the first is {pending.FirstOrDefault() ?? "a re-applied one"}. "
                + "Database:Migrate is false, so run migrate under a login that may, then start again.");
        }
    }

    private static NpgsqlConnectionStringBuilder Parse(string connectionString)
    {
        try
        {
            return ConnectionSettings.Parse(connectionString);
        }
        catch (UsageException e)
        {
            throw new OptionsValidationException("ConnectionStrings", typeof(NpgsqlConnectionStringBuilder), ["ConnectionStrings:CreditDb: " + e.Message]);
        }
    }

    private string? Psql()
    {
        var name = OperatingSystem.IsWindows() ? "psql.exe" : "psql";
        if (PostgresSearch.From(configuration).FindOnPath(name) is not null)
            return "psql";
        var beside = Path.Combine(Server!.BinFolder, name);
        return !File.Exists(beside) ? null : beside.Contains(' ') ? $"\"{beside}\"" : beside;
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

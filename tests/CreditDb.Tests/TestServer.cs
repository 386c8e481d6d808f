using CreditDb.Host.PrivatePostgres;
using CreditDb.Migrations;
using Npgsql;

[assembly: AssemblyFixture(typeof(CreditDb.Tests.TestServer))]

namespace CreditDb.Tests;

/// <summary>
/// The run's PostgreSQL: a private, throwaway one, or the server that CREDITDB_TEST_CONNECTION names (its user must be a superuser). Holds a
/// migrated template database, which tests clone.
/// </summary>
public sealed class TestServer : IAsyncLifetime
{
    private readonly string _prefix = "creditdb_test_" + Guid.NewGuid().ToString("N")[..8];
    private readonly SemaphoreSlim _cloning = new(1);
    private PrivateServer? _private;
    private int _databases;

    /// <summary>Connects as superuser to the maintenance database.</summary>
    public string ConnectionString { get; private set; } = "";

    /// <summary>The folder of the server's programs, if the server is our own.</summary>
    public string? BinFolder => _private?.BinFolder;

    private string Template => _prefix + "_template";

    public async ValueTask InitializeAsync()
    {
        if (Environment.GetEnvironmentVariable("CREDITDB_TEST_CONNECTION") is { Length: > 0 } given)
        {
            ConnectionString = given;
        }
        else
        {
            var options = PrivateServerOptions.Throwaway();
            _private = await PrivateServer.StartAsync(options with
            {
                Settings = new Dictionary<string, string>(options.Settings) { ["max_connections"] = "300", ["max_prepared_transactions"] = "10" },
            });
            ConnectionString = _private.ConnectionString;
        }

        await ExecuteAsync($"create database {Template}");
        await using var template = NpgsqlDataSource.Create(new NpgsqlConnectionStringBuilder(For(Template)) { Pooling = false }.ConnectionString);
        await new Migrator(template).MigrateAsync();
    }

    public async ValueTask DisposeAsync()
    {
        if (_private is not null)
            await _private.DisposeAsync();
        else
            await ExecuteAsync($"drop database if exists {Template} with (force)");
        _cloning.Dispose();
    }

    public Task<string> CloneTemplateAsync() => CreateAsync($"template {Template}");

    public Task<string> CreateEmptyAsync() => CreateAsync("");

    public async Task<EmptyDatabase> CreateDatabaseAsync() => new(this, await CreateEmptyAsync());

    public async Task DropAsync(string connectionString)
    {
        await using var connection = new NpgsqlConnection(connectionString);
        NpgsqlConnection.ClearPool(connection);
        await ExecuteAsync($"drop database if exists {connection.Database} with (force)");
    }

    public Task DropRolesAsync(string prefix) => ExecuteAsync(
        $"do $$ declare r text; begin for r in select rolname from pg_roles where rolname like '{prefix}%' loop execute format('drop role %I', r); end loop; end $$");

    /// <summary>The connection string for another database of this server.</summary>
    public string For(string database) => new NpgsqlConnectionStringBuilder(ConnectionString)
    {
        Database = database,
        MaxPoolSize = 60,
        IncludeErrorDetail = true,
    }.ConnectionString;

    private async Task<string> CreateAsync(string options)
    {
        // A template can be cloned by one at a time.
        await _cloning.WaitAsync();
        try
        {
            var name = $"{_prefix}_{++_databases}";
            await ExecuteAsync($"create database {name} {options}");
            return For(name);
        }
        finally
        {
            _cloning.Release();
        }
    }

    private async Task ExecuteAsync(string sql)
    {
        await using var connection = new NpgsqlConnection(new NpgsqlConnectionStringBuilder(ConnectionString) { Pooling = false }.ConnectionString);
        await connection.OpenAsync();
        await connection.Run(sql);
    }
}

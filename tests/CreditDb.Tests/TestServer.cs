using Npgsql;

[assembly: AssemblyFixture(typeof(CreditDb.Tests.TestServer))]

namespace CreditDb.Tests;

/// <summary>A PostgreSQL server that gives each test an empty database of its own.</summary>
public sealed class TestServer
{
    private readonly string connectionString = Environment.GetEnvironmentVariable("CREDITDB_TEST_CONNECTION")
        ?? throw new InvalidOperationException("Set CREDITDB_TEST_CONNECTION to a superuser's connection string.");

    public async Task<TestDatabase> CreateDatabaseAsync()
    {
        var name = $"t_{Guid.NewGuid():N}";
        await using var admin = NpgsqlDataSource.Create(connectionString);
        await using var command = admin.CreateCommand($"create database {name}");
        await command.ExecuteNonQueryAsync(TestContext.Current.CancellationToken);
        return new TestDatabase(connectionString, name);
    }
}

/// <summary>A database that goes away with its test, and the roles whose prefix it lends.</summary>
public sealed class TestDatabase : IAsyncDisposable
{
    private readonly string server;

    public TestDatabase(string server, string name)
    {
        this.server = server;
        Name = name;
        ConnectionString = new NpgsqlConnectionStringBuilder(server) { Database = name }.ConnectionString;
        DataSource = NpgsqlDataSource.Create(ConnectionString);
    }

    public string Name { get; }

    public string ConnectionString { get; }

    public NpgsqlDataSource DataSource { get; }

    /// <summary>A role prefix that no other test uses.</summary>
    public string RolePrefix => Name;

    public async Task ExecuteAsync(string sql)
    {
        await using var command = DataSource.CreateCommand(sql);
        await command.ExecuteNonQueryAsync(TestContext.Current.CancellationToken);
    }

    /// <summary>The first column of the first row; null for none.</summary>
    public async Task<T?> ScalarAsync<T>(string sql)
    {
        await using var command = DataSource.CreateCommand(sql);
        return await command.ExecuteScalarAsync(TestContext.Current.CancellationToken) is T value ? value : default;
    }

    public async ValueTask DisposeAsync()
    {
        await DataSource.DisposeAsync();
        await using var admin = NpgsqlDataSource.Create(server);
        await using var drop = admin.CreateCommand($"drop database {Name} with (force)");
        await drop.ExecuteNonQueryAsync();
        await using var roles = admin.CreateCommand(
            $"do $$ declare r text; begin for r in select rolname from pg_roles where rolname like '{Name}%' loop execute format('drop role %I', r); end loop; end $$");
        await roles.ExecuteNonQueryAsync();
    }
}

using Npgsql;

namespace CreditDb.Tests;

/// <summary>An empty database that goes away with its test, and the roles whose prefix it lends.</summary>
public sealed class EmptyDatabase(TestServer server, string connectionString) : IAsyncDisposable
{
    public string Name { get; } = new NpgsqlConnectionStringBuilder(connectionString).Database!;

    public string ConnectionString => connectionString;

    public NpgsqlDataSource DataSource { get; } = NpgsqlDataSource.Create(connectionString);

    /// <summary>A role prefix that no other test uses.</summary>
    public string RolePrefix => Name;

    public async Task ExecuteAsync(string sql)
    {
        await using var connection = await DataSource.OpenConnectionAsync();
        await connection.Run(sql);
    }

    /// <summary>The first column of the first row; null for none.</summary>
    public async Task<T?> ScalarAsync<T>(string sql)
    {
        await using var connection = await DataSource.OpenConnectionAsync();
        return await connection.Value<T>(sql);
    }

    public async ValueTask DisposeAsync()
    {
        await DataSource.DisposeAsync();
        await server.DropAsync(connectionString);
        await server.DropRolesAsync(Name);
    }
}

using System.Data;
using Npgsql;

namespace CreditDb.Host.Reference;

/// <summary>The page about the SQL functions, tables and views, written from the comments in a database's catalog.</summary>
public static class SqlReference
{
    // Whatever the session's are: names of the engine in full, intervals as people write them.
    private const string Settings = "set local search_path = pg_catalog; set local intervalstyle = 'postgres'";

    /// <summary>The page as Markdown; the same text for every database of a release, lines ended by a line feed.</summary>
    public static async Task<string> RenderAsync(NpgsqlDataSource dataSource, CancellationToken cancellationToken = default)
    {
        await using var connection = await dataSource.OpenConnectionAsync(cancellationToken);
        await using var transaction = await connection.BeginTransactionAsync(IsolationLevel.RepeatableRead, cancellationToken);
        await using var command = new NpgsqlCommand(Settings, connection, transaction);
        await command.ExecuteNonQueryAsync(cancellationToken);
        command.CommandText = await QueryAsync(cancellationToken);
        return ((string)(await command.ExecuteScalarAsync(cancellationToken))!).ReplaceLineEndings("\n");
    }

    private static async Task<string> QueryAsync(CancellationToken cancellationToken)
    {
        await using var stream = typeof(SqlReference).Assembly.GetManifestResourceStream("sql-api.sql")!;
        using var reader = new StreamReader(stream);
        return await reader.ReadToEndAsync(cancellationToken);
    }
}

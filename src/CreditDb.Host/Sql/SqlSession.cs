using System.Globalization;
using CreditDb.Migrations;
using Npgsql;

namespace CreditDb.Host.Sql;

/// <summary>Runs statements on one connection and prints what psql would: results to one writer, notices and errors to another.</summary>
public sealed class SqlSession : IAsyncDisposable
{
    private static readonly HashSet<string> NumericTypes =
        ["smallint", "integer", "bigint", "real", "double precision", "numeric", "money", "oid", "xid", "xid8", "cid"];

    private readonly NpgsqlConnection _connection;
    private readonly TextWriter _output;
    private readonly TextWriter _error;
    private bool _transactionFailed;
    private bool _inTransaction;

    private SqlSession(NpgsqlConnection connection, TextWriter output, TextWriter error)
    {
        (_connection, _output, _error) = (connection, output, error);
        connection.Notice += (_, e) => Print(
            e.Notice.InvariantSeverity, e.Notice.MessageText, e.Notice.Detail, e.Notice.Hint, sqlState: null);
    }

    public string Database => _connection.Database;

    public static async Task<SqlSession> OpenAsync(string connectionString, TextWriter output, TextWriter error, CancellationToken ct)
    {
        var builder = new NpgsqlConnectionStringBuilder(connectionString) { Pooling = false, CommandTimeout = 0, IncludeErrorDetail = true };
        var connection = new NpgsqlConnection(builder.ConnectionString);
        await connection.OpenAsync(ct);
        return new SqlSession(connection, output, error);
    }

    /// <summary>Runs every statement of a text up to the first that fails; false if one did.</summary>
    public async Task<bool> RunAsync(string text, CancellationToken ct)
    {
        foreach (var statement in StatementSplitter.SplitAll(text))
        {
            if (!await RunStatementAsync(statement.Text, ct))
                return false;
        }

        return true;
    }

    /// <summary>Runs one statement; false if it failed.</summary>
    public async Task<bool> RunStatementAsync(string statement, CancellationToken ct)
    {
        try
        {
            await ExecuteAsync(statement, ct);
            return true;
        }
        catch (PostgresException e)
        {
            Print(e.InvariantSeverity, e.MessageText, e.Detail, e.Hint, e.SqlState);
        }
        catch (OperationCanceledException)
        {
            _error.WriteLine("Cancelled.");
        }
        catch (Exception e) when (e is NpgsqlException or NotSupportedException or InvalidOperationException)
        {
            _error.WriteLine("ERROR:  " + (e.InnerException?.Message ?? e.Message));
        }

        _transactionFailed = _inTransaction;
        return false;
    }

    public ValueTask DisposeAsync() => _connection.DisposeAsync();

    private async Task ExecuteAsync(string statement, CancellationToken ct)
    {
        string[] words = [.. StatementSplitter.Words(statement).Take(8).Select(word => word.ToUpperInvariant())];
        if (words is ["COPY", ..] && !words.Contains("PROGRAM") && (words.Contains("STDIN") || words.Contains("STDOUT")))
            throw new NotSupportedException("copy from stdin and to stdout need psql");

        // Every value as the server's own text, whatever its type.
        await using var command = new NpgsqlCommand(statement, _connection) { AllResultTypesAreUnknown = true };
        await using var reader = await command.ExecuteReaderAsync(ct);
        var hasRows = false;
        do
        {
            if (reader.FieldCount == 0)
                continue;
            hasRows = true;
            await PrintRowsAsync(reader, ct);
        }
        while (await reader.NextResultAsync(ct));

#pragma warning disable CS0618 // Its successor, the batch, cannot ask for values as text.
        var (kind, rows) = reader.Statements is [{ } sent, ..] ? (sent.StatementType, sent.Rows) : (StatementType.Unknown, 0ul);
#pragma warning restore CS0618
        if (!hasRows || kind is StatementType.Insert or StatementType.Update or StatementType.Delete or StatementType.Merge)
            _output.WriteLine(Followed(words, CommandTag.Of(words, kind, rows)));
    }

    private async Task PrintRowsAsync(NpgsqlDataReader reader, CancellationToken ct)
    {
        var columns = Enumerable.Range(0, reader.FieldCount).ToArray();
        var table = new AlignedTable(
            [.. columns.Select(reader.GetName)],
            [.. columns.Select(i => NumericTypes.Contains(reader.GetDataTypeName(i).Split('(')[0]))]);
        while (await reader.ReadAsync(ct))
            table.Add(columns.Select(i => reader.IsDBNull(i) ? null : reader.GetString(i)));
        table.WriteTo(_output);
    }

    // The server answers a commit of a failed transaction with ROLLBACK, and so it must read here.
    private string Followed(string[] words, string tag)
    {
        if (tag is "BEGIN" or "START TRANSACTION")
            _inTransaction = true;
        if (tag is "COMMIT" && _transactionFailed)
            tag = "ROLLBACK";
        if (tag is "COMMIT" or "ROLLBACK")
        {
            _transactionFailed = false;
            _inTransaction = words.Contains("TO") || words.Contains("CHAIN") && !words.Contains("NO");
        }

        return tag;
    }

    private void Print(string severity, string message, string? detail, string? hint, string? sqlState)
    {
        _error.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{severity}:  {message}"));
        if (!string.IsNullOrEmpty(detail))
            _error.WriteLine("DETAIL:  " + detail);
        if (!string.IsNullOrEmpty(hint))
            _error.WriteLine("HINT:  " + hint);
        if (sqlState is not null)
            _error.WriteLine("SQLSTATE:  " + sqlState);
    }
}

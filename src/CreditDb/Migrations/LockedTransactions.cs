using System.Data;
using Npgsql;

namespace CreditDb.Migrations;

/// <summary>A transaction that holds the migration lock, and what scripts said in it.</summary>
internal sealed class LockedTransaction(NpgsqlConnection connection)
{
    public NpgsqlConnection Connection => connection;

    public List<MigrationNotice> Notices { get; } = [];

    /// <summary>The script that is running.</summary>
    public string? Script { get; set; }

    /// <summary>Runs a statement.</summary>
    public async Task ExecuteAsync(string sql, CancellationToken cancellationToken)
    {
        await using var command = new NpgsqlCommand(sql, connection) { CommandTimeout = 0 };
        await command.ExecuteNonQueryAsync(cancellationToken);
    }

    /// <summary>Runs a script, statement by statement. An error names the script and its line.</summary>
    public async Task RunAsync(DbScript script, string rolePrefix, CancellationToken cancellationToken)
    {
        Script = script.Name;
        foreach (var statement in script.Statements(rolePrefix))
        {
            try
            {
                await ExecuteAsync(statement.Text, cancellationToken);
            }
            catch (PostgresException e)
            {
                var line = DbScript.LineAt(script.Render(rolePrefix), statement.Start + Math.Max(0, e.Position - 1));
                throw new MigrationException(
                    MigrationProblem.ScriptFailed, $"{script.Name}, line {line}: {e.MessageText} (SQLSTATE {e.SqlState})", e)
                {
                    Script = script.Name,
                    Line = line,
                };
            }
        }

        Script = null;
    }
}

/// <summary>
/// Runs transactions under the migration lock, and again when they lose a race. The lock belongs to the transaction, not
/// to the session, so that it holds behind a pooler in transaction mode too; whoever gets it reads the journal afresh.
/// </summary>
internal sealed class LockedTransactions(
    NpgsqlDataSource dataSource, MigratorOptions options, IProgress<MigrationProgress>? progress)
{
    private static readonly TimeSpan LongestPause = TimeSpan.FromSeconds(5);

    private string? _blockers;

    public async Task<T> RunAsync<T>(Func<LockedTransaction, Task<T>> work, List<MigrationNotice> notices, CancellationToken cancellationToken)
    {
        for (var attempt = 1; ; attempt++)
        {
            try
            {
                return await TryAsync(work, notices, cancellationToken);
            }
            catch (Exception e) when (Postgres(e) is { } error && IsWorthRetrying(error))
            {
                var reason = error.SqlState == PostgresErrorCodes.LockNotAvailable
                    ? $"waiting for a lock{(_blockers is null ? "" : $" held by {_blockers}")}"
                    : $"{error.MessageText} (SQLSTATE {error.SqlState})";
                var script = (e as MigrationException)?.Script;
                if (attempt == options.Tries)
                    throw Exhausted(e, error, $"{(script is null ? "" : $"{script}: ")}gave up after {attempt} tries, {reason}", script);
                progress?.Report(new(MigrationProgressKind.Retrying, $"{reason}, try {attempt + 1} of {options.Tries}", script));
                await Task.Delay(Pause(attempt, error), options.Clock, cancellationToken);
            }
        }
    }

    private async Task<T> TryAsync<T>(Func<LockedTransaction, Task<T>> work, List<MigrationNotice> notices, CancellationToken cancellationToken)
    {
        await using var connection = await dataSource.OpenConnectionAsync(cancellationToken);
        var locked = new LockedTransaction(connection);
        void OnNotice(object? sender, NpgsqlNoticeEventArgs e) => Note(locked, e.Notice);
        connection.Notice += OnNotice;
        try
        {
            // Read committed, whatever the database's default: the journal must be read as it is once the lock is held.
            await using var transaction = await connection.BeginTransactionAsync(IsolationLevel.ReadCommitted, cancellationToken);
            await locked.ExecuteAsync(
                "set local statement_timeout = 0; set local lock_timeout = 0; set local client_min_messages = notice; set local search_path = public, pg_temp",
                cancellationToken);

            using var done = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
            var watch = WatchAsync(await BackendAsync(connection, cancellationToken), done.Token);
            try
            {
                await locked.ExecuteAsync(JournalSql.TakeLock, cancellationToken);
                await locked.ExecuteAsync($"set local lock_timeout = {(long)options.LockTimeout.TotalMilliseconds}", cancellationToken);
                var result = await work(locked);
                await transaction.CommitAsync(cancellationToken);
                notices.AddRange(locked.Notices);
                return result;
            }
            finally
            {
                await done.CancelAsync();
                await watch;
            }
        }
        finally
        {
            connection.Notice -= OnNotice;
        }
    }

    /// <summary>Tells, from a second connection, who holds the lock that this backend waits for.</summary>
    private async Task WatchAsync(int backend, CancellationToken cancellationToken)
    {
        const string sql =
            """
            select string_agg(format('pid %s (%s, %s, %s s)', pid, usename, coalesce(nullif(application_name, ''), 'no application name'),
                                     extract(epoch from clock_timestamp() - xact_start)::int), ' and ' order by pid)
            from pg_stat_activity
            where pid = any (pg_blocking_pids($1))
            """;
        _blockers = null;
        try
        {
            while (true)
            {
                await Task.Delay(options.LockTimeout / 3, options.Clock, cancellationToken);
                await using var command = dataSource.CreateCommand(sql);
                command.Parameters.Add(new() { Value = backend });
                if (await command.ExecuteScalarAsync(cancellationToken) is string holders && holders != _blockers)
                {
                    if (_blockers is null)
                        progress?.Report(new(MigrationProgressKind.Waiting, $"waiting for a lock held by {holders}"));
                    _blockers = holders;
                }
            }
        }
        catch (Exception e) when (e is OperationCanceledException or NpgsqlException)
        {
            // Only the telling is lost.
        }
    }

    private static async Task<int> BackendAsync(NpgsqlConnection connection, CancellationToken cancellationToken)
    {
        await using var command = new NpgsqlCommand("select pg_backend_pid()", connection);
        return (int)(await command.ExecuteScalarAsync(cancellationToken))!;
    }

    // What RAISE says, not the server's own "already exists, skipping".
    private void Note(LockedTransaction transaction, PostgresNotice notice)
    {
        if (notice.Routine != "exec_stmt_raise" && notice.InvariantSeverity != "WARNING")
            return;
        transaction.Notices.Add(new(transaction.Script, notice.InvariantSeverity, notice.MessageText));
        progress?.Report(new(MigrationProgressKind.Notice, $"{notice.InvariantSeverity}: {notice.MessageText}", transaction.Script));
    }

    private static PostgresException? Postgres(Exception e) => e as PostgresException ?? e.InnerException as PostgresException;

    private static bool IsWorthRetrying(PostgresException e) => IsLostRace(e) || e.SqlState
        is PostgresErrorCodes.SerializationFailure or PostgresErrorCodes.DeadlockDetected or PostgresErrorCodes.LockNotAvailable;

    // Roles are shared by all databases of a cluster, and the migration lock is not: "tuple concurrently updated" and a
    // role that another database has just created are over at the next try.
    private static bool IsLostRace(PostgresException e) =>
        e.SqlState is PostgresErrorCodes.InternalError or PostgresErrorCodes.DuplicateObject
        || (e.SqlState is PostgresErrorCodes.UniqueViolation && e.SchemaName == "pg_catalog");

    private static TimeSpan Pause(int attempt, PostgresException error)
    {
        var pause = IsLostRace(error) ? TimeSpan.FromMilliseconds(50) : TimeSpan.FromMilliseconds(250) * Math.Pow(2, attempt - 1);
        return (pause < LongestPause ? pause : LongestPause) * (0.5 + Random.Shared.NextDouble());
    }

    private static Exception Exhausted(Exception e, PostgresException error, string message, string? script) =>
        IsLostRace(error) ? e : new MigrationException(MigrationProblem.Busy, message, error) { Script = script };
}

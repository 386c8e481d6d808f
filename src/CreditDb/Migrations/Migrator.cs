using System.Text;
using Npgsql;

namespace CreditDb.Migrations;

/// <summary>
/// Brings a database to the scripts of this program, and back. Any number may start at once: one works, the others wait.
/// The journal is DbUp's, so that DbUp can continue a database of ours and the other way round.
/// </summary>
/// <param name="dataSource">Connects as a user who may create a schema and roles. A pooler in transaction mode is fine.</param>
/// <param name="options">The defaults if null.</param>
public sealed class Migrator(NpgsqlDataSource dataSource, MigratorOptions? options = null)
{
    private readonly MigratorOptions _options = options ?? new MigratorOptions();

    private string Release => _options.Release.ToString();

    /// <summary>Reads the state of every script. Changes nothing and refuses nothing.</summary>
    public async Task<MigrationStatus> StatusAsync(CancellationToken cancellationToken = default)
    {
        var state = await ReadAsync(cancellationToken);
        var comparison = new Comparison(_options, state);
        var refusal = comparison.Refusal();
        return new MigrationStatus(
            Release,
            state.Release?.ToString(),
            state.RolePrefix,
            refusal is null && comparison.Transactions.Count == 0,
            refusal?.Problem,
            comparison.Scripts);
    }

    /// <summary>Tells what a migration would run. Changes nothing.</summary>
    /// <exception cref="MigrationException">The migration would be refused.</exception>
    public async Task<MigrationPlan> PlanAsync(CancellationToken cancellationToken = default) =>
        Compare(await ReadAsync(cancellationToken)).ToPlan();

    /// <summary>Runs what is pending and re-applies what changed; when nothing is, it only reads.</summary>
    /// <exception cref="MigrationException">Refused before anything was run, or a script failed: what was committed stays.</exception>
    public async Task<MigrationResult> MigrateAsync(
        IProgress<MigrationProgress>? progress = null, CancellationToken cancellationToken = default)
    {
        List<MigrationNotice> notices = [];
        List<DbScript> ran = [];
        if (!Compare(await ReadAsync(cancellationToken)).NothingToDo)
        {
            // One transaction at a time, each deciding anew under the lock what is next: another migrator may have run it.
            var transactions = new LockedTransactions(dataSource, _options, progress);
            while (await transactions.RunAsync(t => RunNextAsync(t, progress, cancellationToken), notices, cancellationToken) is { } next)
            {
                ran.AddRange(next.Scripts);
                progress?.Report(new(MigrationProgressKind.Committed, $"committed {string.Join(", ", next.Scripts.Select(s => s.Name))}"));
                if (next.Reapplies)
                    break;
            }
        }

        return new MigrationResult(
            [.. ran.Where(s => s.RunsOnce).Select(s => s.Name)], [.. ran.Where(s => !s.RunsOnce).Select(s => s.Name)], notices);
    }

    /// <summary>
    /// Writes what a migration would run as one SQL file of one transaction, for psql with ON_ERROR_STOP. The file refuses
    /// to run when the database has been migrated in between. Changes nothing.
    /// </summary>
    /// <exception cref="MigrationException">The migration would be refused.</exception>
    public async Task<string> ScriptAsync(CancellationToken cancellationToken = default)
    {
        var state = await ReadAsync(cancellationToken);
        var comparison = Compare(state);
        var sql = new StringBuilder(
            $"""
            -- CreditDb {Release}, role prefix {_options.RolePrefix}
            -- psql -v ON_ERROR_STOP=1 -f FILE
            begin isolation level read committed;
            set local statement_timeout = 0;
            set local lock_timeout = 0;
            set local search_path = public, pg_temp;
            {JournalSql.TakeLock};
            set local lock_timeout = {(long)_options.LockTimeout.TotalMilliseconds};
            {JournalSql.Guard(state)};

            """);
        foreach (var statement in JournalSql.Prepare(state, comparison.Adopted, _options.RolePrefix))
            sql.Append(statement).Append(";\n");
        foreach (var transaction in comparison.Transactions)
        {
            foreach (var script in transaction.Scripts)
            {
                sql.Append($"\n-- {script.Path}\n{script.Render(_options.RolePrefix).TrimEnd()}\n;\n");
                if (script.RunsOnce)
                    sql.Append(JournalSql.Record(script, _options.RolePrefix)).Append(";\n");
            }

            foreach (var statement in After(transaction))
                sql.Append(statement).Append(";\n");
        }

        return sql.Append("\ncommit;\n").ToString();
    }

    /// <summary>Tells which once-scripts a rollback would undo, the first one first. Changes nothing.</summary>
    /// <inheritdoc cref="RollbackAsync"/>
    public async Task<IReadOnlyList<string>> PlanRollbackAsync(string? to, CancellationToken cancellationToken = default) =>
        [.. ToUndo(await ReadAsync(cancellationToken), to).Select(s => s.Name)];

    /// <summary>
    /// Undoes the once-scripts applied after <paramref name="to"/>, the last one first, all in one transaction, so that a refusal or a
    /// failure undoes nothing. The next migration re-applies the re-applied ones.
    /// </summary>
    /// <param name="to">The journal name of the last script to keep; null undoes all.</param>
    /// <param name="force">Allows down scripts to lose data.</param>
    /// <param name="progress">Told of each script.</param>
    /// <param name="cancellationToken">Stops the rollback; the running transaction is undone.</param>
    /// <exception cref="MigrationException">A script has no down script, refuses to lose data, or failed.</exception>
    public async Task<RollbackResult> RollbackAsync(
        string? to, bool force = false, IProgress<MigrationProgress>? progress = null, CancellationToken cancellationToken = default)
    {
        List<MigrationNotice> notices = [];
        if (ToUndo(await ReadAsync(cancellationToken), to).Count == 0)
            return new RollbackResult([], notices);
        var transactions = new LockedTransactions(dataSource, _options, progress);
        var undone = await transactions.RunAsync(t => UndoAsync(t, to, force, progress, cancellationToken), notices, cancellationToken);
        progress?.Report(new(MigrationProgressKind.Committed, $"undid {string.Join(", ", undone)}"));
        return new RollbackResult(undone, notices);
    }

    private async Task<ScriptTransaction?> RunNextAsync(
        LockedTransaction transaction, IProgress<MigrationProgress>? progress, CancellationToken cancellationToken)
    {
        var state = await DatabaseState.ReadAsync(transaction.Connection, cancellationToken);
        var comparison = Compare(state);
        if (comparison.NothingToDo)
            return null;

        foreach (var statement in JournalSql.Prepare(state, comparison.Adopted, _options.RolePrefix))
            await transaction.ExecuteAsync(statement, cancellationToken);
        if (comparison.Transactions.Count == 0)
            return null;

        var next = comparison.Transactions[0];
        foreach (var script in next.Scripts)
        {
            progress?.Report(new(MigrationProgressKind.Running, $"running {script.Name}", script.Name));
            await transaction.RunAsync(script, _options.RolePrefix, cancellationToken);
            if (script.RunsOnce)
                await transaction.ExecuteAsync(JournalSql.Record(script, _options.RolePrefix), cancellationToken);
        }

        foreach (var statement in After(next))
            await transaction.ExecuteAsync(statement, cancellationToken);
        return next;
    }

    // A migration may drop what a re-applied script made. Should the run stop here, the next one must know.
    private IEnumerable<string> After(ScriptTransaction transaction) => transaction.Reapplies
        ? JournalSql.RecordApplied(transaction.Scripts.Where(s => !s.RunsOnce), _options.RolePrefix, Release)
        : [JournalSql.ForgetApplied];

    private async Task<List<string>> UndoAsync(
        LockedTransaction transaction, string? to, bool force, IProgress<MigrationProgress>? progress, CancellationToken cancellationToken)
    {
        if (force)
            await transaction.ExecuteAsync("set local credits.force_rollback = 'on'", cancellationToken);
        List<string> undone = [];
        foreach (var (name, down) in ToUndo(await DatabaseState.ReadAsync(transaction.Connection, cancellationToken), to))
        {
            progress?.Report(new(MigrationProgressKind.Running, $"undoing {name}", name));
            try
            {
                await transaction.RunAsync(down, _options.RolePrefix, cancellationToken);
            }
            catch (MigrationException e) when (e.SqlState?.StartsWith("UC", StringComparison.Ordinal) == true)
            {
                throw new MigrationException(MigrationProblem.RollbackRefused, $"{e.Message}. Nothing was undone; force allows it.", e.InnerException) { Script = name, Line = e.Line };
            }

            // The first migration's down script drops the schema, journal included.
            var left = await DatabaseState.ReadAsync(transaction.Connection, cancellationToken);
            if (left.HasJournal)
                await transaction.ExecuteAsync(JournalSql.Forget(name), cancellationToken);
            if (left.HasAppliedObjects)
                await transaction.ExecuteAsync(JournalSql.ForgetApplied, cancellationToken);
            undone.Add(name);
        }

        return undone;
    }

    private List<(string Name, DbScript Down)> ToUndo(DatabaseState state, string? to)
    {
        if (new Comparison(_options, state).RefusedPrefix() is { } refusal)
            throw refusal;

        var keep = to is null ? -1 : state.Scripts.Select(e => e.Name).ToList().IndexOf(to);
        if (to is not null && keep < 0)
            throw new MigrationException(MigrationProblem.RollbackRefused, $"{to} is not among the applied scripts.");

        return [.. state.Scripts.Skip(keep + 1).Reverse().Select(e => (e.Name, _options.Scripts.FindDown(e.Name)
            ?? throw new MigrationException(MigrationProblem.RollbackRefused, $"{e.Name} cannot be undone: it has no down script. Nothing was undone.") { Script = e.Name }))];
    }

    private Comparison Compare(DatabaseState state)
    {
        var comparison = new Comparison(_options, state);
        if (comparison.Refusal() is { } refusal)
            throw refusal;
        foreach (var script in comparison.Transactions.SelectMany(t => t.Scripts))
            _ = script.Statements(_options.RolePrefix);
        return comparison;
    }

    private async Task<DatabaseState> ReadAsync(CancellationToken cancellationToken)
    {
        await using var connection = await dataSource.OpenConnectionAsync(cancellationToken);
        return await DatabaseState.ReadAsync(connection, cancellationToken);
    }
}

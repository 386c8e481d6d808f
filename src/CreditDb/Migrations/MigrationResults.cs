namespace CreditDb.Migrations;

/// <summary>The state of a script in a database.</summary>
public enum ScriptState
{
    /// <summary>Applied, and unchanged since.</summary>
    Applied,

    /// <summary>Not applied yet.</summary>
    Pending,

    /// <summary>A re-applied script that differs from what was applied.</summary>
    Changed,

    /// <summary>A once-script that differs from what was applied: an error.</summary>
    Edited,

    /// <summary>Applied, but not among the program's scripts.</summary>
    Unknown,

    /// <summary>Left out on request.</summary>
    Skipped,
}

/// <summary>
/// One script's state. <paramref name="AppliedAt"/> is null unless applied, and in UTC (DbUp, whose journal has no zone,
/// writes its machine's local time).
/// </summary>
public sealed record ScriptStatus(string Name, bool RunsOnce, ScriptState State, DateTime? AppliedAt);

/// <summary>A database's state, script by script in running order, then unknown ones.</summary>
/// <param name="Release">The program's release.</param>
/// <param name="DatabaseRelease">The latest release recorded in the database, null if none is.</param>
/// <param name="RolePrefix">The prefix the database was migrated with, null if none is recorded.</param>
/// <param name="UpToDate">True when a migration would find nothing to do.</param>
/// <param name="Problem">Why a migration would be refused, null if it would not.</param>
/// <param name="Scripts">Every script.</param>
public sealed record MigrationStatus(
    string Release,
    string? DatabaseRelease,
    string? RolePrefix,
    bool UpToDate,
    MigrationProblem? Problem,
    IReadOnlyList<ScriptStatus> Scripts);

/// <summary>A script that would be run, with the state that calls for it. Unchanged ones are re-applied along with others.</summary>
public sealed record PlannedScript(string Name, bool RunsOnce, ScriptState State);

/// <summary>What a migration would do.</summary>
/// <param name="Transactions">The scripts to run, by transaction, in order.</param>
/// <param name="Adopted">Scripts that DbUp applied and whose checksums would be recorded.</param>
public sealed record MigrationPlan(IReadOnlyList<IReadOnlyList<PlannedScript>> Transactions, IReadOnlyList<string> Adopted);

/// <summary>What a script said with RAISE.</summary>
public sealed record MigrationNotice(string? Script, string Severity, string Message);

/// <summary>What a migration did.</summary>
/// <param name="Applied">Once-scripts that ran, in order.</param>
/// <param name="Reapplied">Scripts that were re-applied, in order.</param>
/// <param name="Notices">What the scripts said.</param>
public sealed record MigrationResult(
    IReadOnlyList<string> Applied,
    IReadOnlyList<string> Reapplied,
    IReadOnlyList<MigrationNotice> Notices);

/// <summary>What a rollback did: the once-scripts undone, in the order they were undone.</summary>
public sealed record RollbackResult(IReadOnlyList<string> Undone, IReadOnlyList<MigrationNotice> Notices);

/// <summary>What a <see cref="MigrationProgress"/> tells.</summary>
public enum MigrationProgressKind
{
    /// <summary>A script starts.</summary>
    Running,

    /// <summary>A transaction was committed.</summary>
    Committed,

    /// <summary>A lock is being waited for.</summary>
    Waiting,

    /// <summary>A transaction will be tried again.</summary>
    Retrying,

    /// <summary>A script said something.</summary>
    Notice,
}

/// <summary>One step of a running migration, for people.</summary>
public sealed record MigrationProgress(MigrationProgressKind Kind, string Message, string? Script = null);

using Npgsql;

namespace CreditDb.Migrations;

/// <summary>Why a migration stopped.</summary>
public enum MigrationProblem
{
    /// <summary>A script failed in the database.</summary>
    ScriptFailed,

    /// <summary>A script cannot be run as it is written: an unknown variable, transaction control, a name used twice.</summary>
    InvalidScript,

    /// <summary>A script that was applied once has been edited since.</summary>
    ScriptEdited,

    /// <summary>The database has been migrated by a later release.</summary>
    DatabaseNewer,

    /// <summary>The database was migrated with another role prefix.</summary>
    RolePrefixDiffers,

    /// <summary>A rollback would lose data, or has no down script.</summary>
    RollbackRefused,

    /// <summary>A lock could not be had within the number of tries.</summary>
    Busy,

    /// <summary>Scripts are pending, and this program was told not to run them.</summary>
    Pending,
}

/// <summary>A migration stopped; what was committed before stays, and the journal tells it.</summary>
public sealed class MigrationException(MigrationProblem problem, string message, Exception? inner = null)
    : Exception(message, inner)
{
    /// <summary>The kind of problem.</summary>
    public MigrationProblem Problem { get; } = problem;

    /// <summary>The journal name of the script concerned, if there is one.</summary>
    public string? Script { get; init; }

    /// <summary>The line in that script, from 1, if known.</summary>
    public int? Line { get; init; }

    /// <summary>The database's error code, if the database reported the problem.</summary>
    public string? SqlState => (InnerException as PostgresException)?.SqlState;

    /// <summary>The database's detail text, if any.</summary>
    public string? Detail => (InnerException as PostgresException)?.Detail;

    /// <summary>The database's hint, if any.</summary>
    public string? Hint => (InnerException as PostgresException)?.Hint;
}

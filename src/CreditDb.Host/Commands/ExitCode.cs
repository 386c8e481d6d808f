namespace CreditDb.Host.Commands;

/// <summary>What the program's exit code means; part of its interface.</summary>
internal enum ExitCode
{
    Ok = 0,
    Error = 1,
    Usage = 2,
    Pending = 3,
    ScriptEdited = 4,
    DatabaseNewer = 5,
    ScriptFailed = 6,
    RollbackRefused = 7,
    Discrepancies = 8,
    RolePrefixDiffers = 9,
    Busy = 10,
}

internal static class ExitCodes
{
    public const string Help =
        """
        Exit codes:
           0  done, up to date, healthy
           1  unexpected error, no connection
           2  wrong usage, no connection string
           3  scripts are pending (status, keys, serve with Database:Migrate=false)
           4  a script has been edited since it was applied
           5  the database is newer than this program
           6  a script failed; what was committed before it stays
           7  rollback refused: data would be lost, or no down script
           8  verification found discrepancies; docs --check found another text
           9  the database was migrated with another role prefix
          10  a lock could not be had; try again later
        """;
}

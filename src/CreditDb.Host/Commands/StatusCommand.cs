using System.CommandLine;
using System.Globalization;

namespace CreditDb.Host.Commands;

internal static class StatusCommand
{
    public static Command Create() => Verb.Create(
        "status",
        "Show every script and whether it is applied; the exit code tells whether the database is up to date.",
        [Verb.WithoutApp, Verb.RolePrefix, Verb.From],
        RunAsync);

    private static async Task<ExitCode> RunAsync(Verb verb, CancellationToken cancellationToken)
    {
        var status = await verb.CreateMigrator().StatusAsync(cancellationToken);
        verb.Output.Table(
            ["script", "state", "applied at (UTC)"],
            status.Scripts.Select(s => new[]
            {
                s.Name,
                s.State.ToString().ToLowerInvariant(),
                s.AppliedAt?.ToString("yyyy-MM-dd HH:mm:ss", CultureInfo.InvariantCulture),
            }));
        verb.Output.Line(
            $"Program {status.Release}, database {status.DatabaseRelease ?? "not migrated"}: {(status.UpToDate ? "up to date" : Describe(status.Problem))}.",
            status.UpToDate ? "green" : "yellow");
        return verb.Finish(
            status.UpToDate ? ExitCode.Ok : status.Problem is { } problem ? Verb.CodeOf(problem) : ExitCode.Pending,
            status);
    }

    private static string Describe(Migrations.MigrationProblem? problem) => problem switch
    {
        Migrations.MigrationProblem.DatabaseNewer => "the database is newer than this program",
        Migrations.MigrationProblem.RolePrefixDiffers => "the database was migrated with another role prefix",
        Migrations.MigrationProblem.ScriptEdited => "a script has been edited since it was applied",
        _ => "scripts are pending",
    };
}

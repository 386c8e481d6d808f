using System.CommandLine;

namespace CreditDb.Host.Commands;

internal static class MigrateCommand
{
    private static readonly Option<bool> DryRun = new("--dry-run") { Description = "Say what would be run; change nothing." };

    private static readonly Option<FileInfo?> Script = new("--script")
    {
        Description = "Write what would be run as one SQL file for psql -v ON_ERROR_STOP=1 -f; change nothing.",
        HelpName = "file",
    };

    public static Command Create() => Verb.Create(
        "migrate",
        "Bring the database to this release: run pending scripts, re-apply what changed. Safe to start any number of times at once.",
        [DryRun, Script, Verb.WithoutApp, Verb.RolePrefix, Verb.From],
        (verb, cancellationToken) =>
            verb.Arguments.GetValue(Script) is { } file ? WriteAsync(verb, file, cancellationToken)
            : verb.Arguments.GetValue(DryRun) ? PlanAsync(verb, cancellationToken)
            : MigrateAsync(verb, cancellationToken));

    private static async Task<ExitCode> MigrateAsync(Verb verb, CancellationToken cancellationToken)
    {
        var result = await verb.CreateMigrator().MigrateAsync(verb.Output, cancellationToken);
        var (once, again) = (result.Applied.Count, result.Reapplied.Count);
        verb.Output.Line(once + again == 0 ? "Nothing to do." : $"Up to date: {once} run, {again} re-applied.", "green");
        return verb.Finish(ExitCode.Ok, result);
    }

    private static async Task<ExitCode> PlanAsync(Verb verb, CancellationToken cancellationToken)
    {
        var plan = await verb.CreateMigrator().PlanAsync(cancellationToken);
        foreach (var (index, scripts) in plan.Transactions.Index())
        {
            verb.Output.Line($"Transaction {index + 1}", "bold");
            foreach (var script in scripts)
                verb.Output.Line($"  {(script.RunsOnce ? "run" : "re-apply")} {script.Name} ({script.State.ToString().ToLowerInvariant()})");
        }

        if (plan.Adopted.Count > 0)
            verb.Output.Line($"Record the checksums of scripts that DbUp applied: {string.Join(", ", plan.Adopted)}");
        verb.Output.Line(plan.Transactions.Count + plan.Adopted.Count == 0 ? "Nothing to do." : "Nothing was changed.");
        return verb.Finish(ExitCode.Ok, plan);
    }

    private static async Task<ExitCode> WriteAsync(Verb verb, FileInfo file, CancellationToken cancellationToken)
    {
        await File.WriteAllTextAsync(file.FullName, await verb.CreateMigrator().ScriptAsync(cancellationToken), cancellationToken);
        verb.Output.Line($"Wrote {file.FullName}. Apply it with psql -v ON_ERROR_STOP=1 -f; nothing was changed.");
        return verb.Finish(ExitCode.Ok, new { file = file.FullName });
    }
}

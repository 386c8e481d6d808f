using System.CommandLine;

namespace CreditDb.Host.Commands;

internal static class RollbackCommand
{
    private static readonly Option<string> To = new("--to")
    {
        Description = "The last script to keep, by its journal name (migrations.0001_schema.sql); none undoes all.",
        HelpName = "name",
        Required = true,
    };

    private static readonly Option<bool> Force = new("--force") { Description = "Let down scripts lose data." };

    private static readonly Option<bool> DryRun = new("--dry-run") { Description = "Say what would be undone; change nothing." };

    public static Command Create() => Verb.Create(
        "rollback",
        "Undo the scripts applied after a given one, the last one first, in one transaction. If one would lose data, nothing is undone.",
        [To, Force, DryRun, Verb.RolePrefix, Verb.From],
        RunAsync);

    private static async Task<ExitCode> RunAsync(Verb verb, CancellationToken cancellationToken)
    {
        var name = verb.Arguments.GetValue(To)!;
        var to = name == "none" ? null : name;
        var migrator = verb.CreateMigrator();
        if (verb.Arguments.GetValue(DryRun))
        {
            var planned = await migrator.PlanRollbackAsync(to, cancellationToken);
            foreach (var script in planned)
                verb.Output.Line($"undo {script}");
            verb.Output.Line(planned.Count == 0 ? "Nothing to undo." : "Nothing was changed.");
            return verb.Finish(ExitCode.Ok, new { toUndo = planned });
        }

        var result = await migrator.RollbackAsync(to, verb.Arguments.GetValue(Force), verb.Output, cancellationToken);
        verb.Output.Line(result.Undone.Count == 0 ? "Nothing to undo." : $"Undone: {result.Undone.Count}.", "green");
        return verb.Finish(ExitCode.Ok, result);
    }
}

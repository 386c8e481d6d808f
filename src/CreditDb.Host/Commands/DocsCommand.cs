using System.CommandLine;
using CreditDb.Host.Reference;
using CreditDb.Migrations;

namespace CreditDb.Host.Commands;

internal static class DocsCommand
{
    private static readonly Option<FileInfo?> OutputFile = new("--output")
    {
        Description = "Write the page to this file; else to standard output.",
        HelpName = "file",
    };

    private static readonly Option<bool> Check = new("--check") { Description = "Only compare the file of --output with the database; change nothing." };

    public static Command Create() => Verb.Create(
        "docs",
        "Write docs/sql-api.md: the functions, tables and views of the database with their comments. Changes nothing in the database.",
        [OutputFile, Check],
        RunAsync);

    private static async Task<ExitCode> RunAsync(Verb verb, CancellationToken cancellationToken)
    {
        var file = verb.Arguments.GetValue(OutputFile);
        var isCheck = verb.Arguments.GetValue(Check);
        if (isCheck && file is null)
            throw new UsageException("--check compares a file: name it with --output.");
        if (!(await new Migrator(verb.DataSource).StatusAsync(cancellationToken)).Scripts.Any(s => s.AppliedAt is not null))
        {
            verb.Output.Error("The database is not migrated. Run migrate first.");
            return verb.Finish(ExitCode.Pending, new { problem = "notMigrated" });
        }

        var text = await SqlReference.RenderAsync(verb.DataSource, cancellationToken);
        if (file is null)
        {
            verb.Output.Text(text);
            return verb.Finish(ExitCode.Ok, new { text });
        }

        var isCurrent = file.Exists && await File.ReadAllTextAsync(file.FullName, cancellationToken) == text;
        if (isCheck)
        {
            verb.Output.Line($"{file.FullName} {(isCurrent ? "is current" : "differs from the database")}.", isCurrent ? "green" : "red");
            return verb.Finish(isCurrent ? ExitCode.Ok : ExitCode.Discrepancies, new { file = file.FullName, isCurrent });
        }

        if (!isCurrent)
            await File.WriteAllTextAsync(file.FullName, text, cancellationToken);
        verb.Output.Line($"{(isCurrent ? "Nothing to do:" : "Wrote")} {file.FullName}{(isCurrent ? " is current." : ".")}");
        return verb.Finish(ExitCode.Ok, new { file = file.FullName, isCurrent });
    }
}

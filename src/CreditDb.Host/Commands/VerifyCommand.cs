using System.CommandLine;
using CreditDb.Migrations;
using Npgsql;

namespace CreditDb.Host.Commands;

internal static class VerifyCommand
{
    private static readonly Option<Guid?> User = new("--user") { Description = "Verify this user's ledger alone." };

    public static Command Create() => Verb.Create(
        "verify",
        "Prove that every ledger adds up and that every attached trigger is in place. Changes nothing.",
        [User],
        RunAsync);

    private static async Task<ExitCode> RunAsync(Verb verb, CancellationToken cancellationToken)
    {
        if (!(await new Migrator(verb.DataSource).StatusAsync(cancellationToken)).Scripts.Any(s => s.AppliedAt is not null))
            return NotMigrated(verb);

        VerificationResult result;
        try
        {
            result = await new DatabaseVerifier(verb.DataSource).VerifyAsync(verb.Arguments.GetValue(User), cancellationToken);
        }
        catch (PostgresException e) when (e.SqlState is PostgresErrorCodes.UndefinedTable or PostgresErrorCodes.UndefinedColumn or PostgresErrorCodes.UndefinedFunction)
        {
            // Half way: rolled back, or by an older release.
            return NotMigrated(verb);
        }

        if (result.Ledger.Count > 0)
        {
            verb.Output.Table(
                ["user", "credit type", "problem", "expected", "actual"],
                result.Ledger.Select(p => new[] { p.UserId?.ToString(), p.CreditType, p.Problem, p.Expected, p.Actual }));
        }

        if (result.Attachments.Count > 0)
        {
            verb.Output.Table(
                ["relation", "trigger", "problem"],
                result.Attachments.Select(p => new[] { p.Relation, p.TriggerName, p.Problem }));
        }

        verb.Output.Line(
            result.Healthy ? "Healthy." : $"Discrepancies: {result.Ledger.Count + result.Attachments.Count}.",
            result.Healthy ? "green" : "red");
        return verb.Finish(result.Healthy ? ExitCode.Ok : ExitCode.Discrepancies, result);
    }

    private static ExitCode NotMigrated(Verb verb)
    {
        verb.Output.Error("The database is not migrated, or not wholly. Run migrate first.");
        return verb.Finish(ExitCode.Pending, new { problem = "notMigrated" });
    }
}

using Npgsql;

namespace CreditDb.Migrations;

/// <summary>A place where the ledger does not add up.</summary>
public sealed record LedgerProblem(Guid? UserId, string? CreditType, string Problem, string? Expected, string? Actual);

/// <summary>An attached trigger that is missing, disabled or replaced.</summary>
public sealed record AttachmentProblem(string? Relation, string? TriggerName, string Problem);

/// <summary>What a verification found.</summary>
public sealed record VerificationResult(IReadOnlyList<LedgerProblem> Ledger, IReadOnlyList<AttachmentProblem> Attachments)
{
    /// <summary>True when nothing was found.</summary>
    public bool Healthy => Ledger.Count == 0 && Attachments.Count == 0;
}

/// <summary>Asks a migrated database whether its ledger and its triggers are sound. Changes nothing.</summary>
public sealed class DatabaseVerifier(NpgsqlDataSource dataSource)
{
    /// <summary>Verifies the ledger and the attached triggers; for one user, that user's ledger alone.</summary>
    public async Task<VerificationResult> VerifyAsync(Guid? userId = null, CancellationToken cancellationToken = default)
    {
        await using var connection = await dataSource.OpenConnectionAsync(cancellationToken);
        await using var command = new NpgsqlCommand(
            "select user_id, credit_type, problem, expected::text, actual::text from credits.verify_ledger($1)", connection)
        {
            CommandTimeout = 0,
            Parameters = { new NpgsqlParameter<Guid?> { TypedValue = userId } },
        };
        List<LedgerProblem> ledger = [];
        await using (var reader = await command.ExecuteReaderAsync(cancellationToken))
        {
            while (await reader.ReadAsync(cancellationToken))
                ledger.Add(new(reader.IsDBNull(0) ? null : reader.GetGuid(0), Text(reader, 1), reader.GetString(2), Text(reader, 3), Text(reader, 4)));
        }

        List<AttachmentProblem> attachments = [];
        if (userId is not null)
            return new VerificationResult(ledger, attachments);

        command.CommandText = "select relation::text, trigger_name::text, problem from credits.verify_attachments()";
        command.Parameters.Clear();
        await using (var reader = await command.ExecuteReaderAsync(cancellationToken))
        {
            while (await reader.ReadAsync(cancellationToken))
                attachments.Add(new(Text(reader, 0), Text(reader, 1), reader.GetString(2)));
        }

        return new VerificationResult(ledger, attachments);
    }

    private static string? Text(NpgsqlDataReader reader, int column) => reader.IsDBNull(column) ? null : reader.GetString(column);
}

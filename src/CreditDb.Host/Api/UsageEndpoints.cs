using System.Data.Common;
using CreditDb.Host.Access;
using Npgsql;
using NpgsqlTypes;

namespace CreditDb.Host.Api;

/// <summary>What was used.</summary>
internal static class UsageEndpoints
{
    /// <summary>The policy of long downloads, each of which keeps a connection: few at a time.</summary>
    public const string Downloads = nameof(Downloads);

    private static readonly TimeSpan ReaderPatience = TimeSpan.FromSeconds(30);

    // The condition on id and the order are those of the ledger's primary key, by which a page is found however long the history is.
    private const string LogsSql =
        """
        select l.id, l.credit_type, l.created_at, l.action_type, l.usage_type, trim_scale(l.quantity), trim_scale(l.amount_used), trim_scale(l.balance_before),
          trim_scale(l.balance_after), l.duration_seconds, trim_scale(l.rate_per_minute), l.call_id, l.reference_id, l.row_source, l.row_id, l.sources::text,
          l.cost_breakdown::text, l.metadata::text
        from credits.credit_usage_logs l
        where l.user_id = $1 and l.credit_type = $2 and l.id < $3
          and ($4::text is null or l.action_type = $4) and ($5::timestamptz is null or l.created_at >= $5) and ($6::timestamptz is null or l.created_at < $6)
        order by l.id desc
        limit $7
        """;

    public static void MapUsage(this IEndpointRouteBuilder api)
    {
        var usage = api.MapGroup("/usage").WithTags("Usage").RequireAuthorization(AccessSetup.Reads);
        usage.MapGet("/stats", (Caller caller, Guid? userId, CancellationToken ct) => caller.Credits.GetUsageStatsAsync(caller.For(userId), ct))
            .WithProblems("unknown_account")
            .WithSummary("What a user has used of the allowance in the running period");

        usage.MapGet("/features", (Caller caller, Guid? userId, string? actionType, CancellationToken ct) =>
                caller.Credits.GetFeatureUsageAsync(caller.For(userId), actionType, ct))
            .WithSummary("How a user uses each action: today, in 7 and in 30 days")
            .WithDescription("Or one action, if actionType is given.");

        usage.MapGet("/logs", async (
                Caller caller, Guid? userId, long? before, string? actionType, DateTimeOffset? from, DateTimeOffset? to, CancellationToken ct,
                string creditType = "credits", int limit = Page.Usual) =>
            {
                var rows = await caller.Sql.RowsAsync(
                    LogsSql, null, Read, ct, caller.For(userId), creditType, before ?? long.MaxValue, actionType, from, to, Page.Checked(limit) + 1L);
                return new LogPage(rows[..Math.Min(limit, rows.Count)], rows.Count > limit ? rows[limit - 1].Id : null);
            })
            .WithSummary("A user's charges, newest first")
            .WithDescription("Up to 200 at a time: limit, and before, which is the nextBefore of the page before. Filters: actionType, from (included), to (not included), creditType (credits unless given). An id is the logId that a refund takes; what was imported has ids below zero.");

        usage.MapGet("/logs.csv", DownloadAsync)
            .RequireRateLimiting(Downloads)
            .Produces<string>(StatusCodes.Status200OK, "text/csv")
            .WithSummary("A user's charges as a file, newest first, all of them")
            .WithDescription("CSV by RFC 4180 in UTF-8, with the filters of /api/usage/logs. A text that begins with = + - @, a tab or a line break gets an apostrophe before it, so that no spreadsheet takes it for a formula.");
    }

    /// <summary>Row by row from the database to the caller, who sets the pace; a caller who goes away cancels the query.</summary>
    private static async Task DownloadAsync(
        HttpContext context, Caller caller, NpgsqlDataSource source, Guid? userId, string? actionType, DateTimeOffset? from, DateTimeOffset? to, CancellationToken ct,
        string creditType = "credits")
    {
        var user = caller.For(userId);
        await using var command = source.CreateCommand(LogsSql);
        command.CommandTimeout = 0;
        command.Parameters.Add(new() { Value = user });
        command.Parameters.Add(new() { Value = creditType });
        command.Parameters.Add(new() { Value = long.MaxValue });
        command.Parameters.Add(new() { Value = actionType ?? (object)DBNull.Value, NpgsqlDbType = NpgsqlDbType.Text });
        command.Parameters.Add(new() { Value = from?.UtcDateTime ?? (object)DBNull.Value, NpgsqlDbType = NpgsqlDbType.TimestampTz });
        command.Parameters.Add(new() { Value = to?.UtcDateTime ?? (object)DBNull.Value, NpgsqlDbType = NpgsqlDbType.TimestampTz });
        command.Parameters.Add(new() { Value = DBNull.Value, NpgsqlDbType = NpgsqlDbType.Bigint });
        await using var reader = await command.ExecuteReaderAsync(ct);

        context.Response.ContentType = "text/csv; charset=utf-8; header=present";
        context.Response.Headers.ContentDisposition = $"attachment; filename=\"usage-{creditType.Where(char.IsAsciiLetterOrDigit).Aggregate("", (name, c) => name + c)}-{user}.csv\"";
        context.Response.Headers.CacheControl = "private, no-store";

        // From here on a failure ends the connection: what was sent cannot become a problem document any more.
        await context.Response.StartAsync(ct);
        var csv = new CsvWriter(context.Response.BodyWriter);
        csv.Row(
            "id", "createdAt", "creditType", "actionType", "usageType", "quantity", "amountUsed", "balanceBefore", "balanceAfter", "durationSeconds", "ratePerMinute",
            "callId", "referenceId", "rowSource", "rowId", "sources", "costBreakdown", "metadata");
        while (await reader.ReadAsync(ct))
        {
            var log = Read(reader);
            csv.Row(
                log.Id, log.CreatedAt, log.CreditType, log.ActionType, log.UsageType, log.Quantity, log.AmountUsed, log.BalanceBefore, log.BalanceAfter,
                log.DurationSeconds, log.RatePerMinute, log.CallId, log.ReferenceId, log.RowSource, log.RowId, log.Sources.Text, log.CostBreakdown?.Text,
                log.Metadata.Text);
            if (csv.IsFull && !await TakesAsync(csv, ct))
            {
                context.Abort();
                return;
            }
        }

        if (!await TakesAsync(csv, ct))
            context.Abort();
    }

    /// <summary>Whether the reader takes what was written. One who takes nothing for a while loses the connection to the database, which others wait for.</summary>
    private static async Task<bool> TakesAsync(CsvWriter csv, CancellationToken ct)
    {
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(ct);
        patience.CancelAfter(ReaderPatience);
        try
        {
            await csv.FlushAsync(patience.Token);
            return true;
        }
        catch (OperationCanceledException) when (!ct.IsCancellationRequested)
        {
            return false;
        }
    }

    private static UsageLog Read(DbDataReader r) => new(
        r.GetInt64(0), r.GetString(1), r.GetFieldValue<DateTimeOffset>(2), r.GetString(3), r.GetString(4), r.GetFieldValue<decimal?>(5), r.GetDecimal(6),
        r.GetFieldValue<decimal?>(7), r.GetFieldValue<decimal?>(8), r.GetFieldValue<int?>(9), r.GetFieldValue<decimal?>(10), r.GetFieldValue<Guid?>(11),
        r.GetFieldValue<Guid?>(12), r.GetTextOrNull(13), r.GetTextOrNull(14), new RawJson(r.GetString(15)),
        r.IsDBNull(16) ? null : new RawJson(r.GetString(16)), new RawJson(r.GetString(17)));

    /// <param name="Id">The entry's number, unique per credit type; below zero for what was imported.</param>
    /// <param name="CreditType">Which credits paid.</param>
    /// <param name="CreatedAt">When.</param>
    /// <param name="ActionType">What for.</param>
    /// <param name="UsageType">call or action.</param>
    /// <param name="Quantity">How many priced units.</param>
    /// <param name="AmountUsed">What it cost.</param>
    /// <param name="BalanceBefore">The balance before.</param>
    /// <param name="BalanceAfter">The balance after.</param>
    /// <param name="DurationSeconds">How long a call took.</param>
    /// <param name="RatePerMinute">What a minute of a call cost.</param>
    /// <param name="CallId">The call.</param>
    /// <param name="ReferenceId">What the charge belongs to.</param>
    /// <param name="RowSource">The charged table's name, if a row was charged.</param>
    /// <param name="RowId">The charged row.</param>
    /// <param name="Sources">The grants that it drew on: grant, source, amount.</param>
    /// <param name="CostBreakdown">What the caller said of a call's cost.</param>
    /// <param name="Metadata">What the caller kept with it.</param>
    internal sealed record UsageLog(
        long Id, string CreditType, DateTimeOffset CreatedAt, string ActionType, string UsageType, decimal? Quantity, decimal AmountUsed, decimal? BalanceBefore,
        decimal? BalanceAfter, int? DurationSeconds, decimal? RatePerMinute, Guid? CallId, Guid? ReferenceId, string? RowSource, string? RowId, RawJson Sources,
        RawJson? CostBreakdown, RawJson Metadata);

    /// <param name="Logs">The newest first.</param>
    /// <param name="NextBefore">For the next page; null on the last.</param>
    internal sealed record LogPage(IReadOnlyList<UsageLog> Logs, long? NextBefore);
}

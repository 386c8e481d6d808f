using CreditDb.Host.Access;

namespace CreditDb.Host.Api;

/// <summary>What operators should look at.</summary>
internal static class AlertEndpoints
{
    public static void MapAlerts(this IEndpointRouteBuilder admin)
    {
        var alerts = admin.MapGroup("/alerts").WithTags("Alerts");
        alerts.MapGet("/", async (
                Caller caller, string? kind, Guid? userId, DateTimeOffset? before, Guid? beforeId, CancellationToken ct, string state = "open", int limit = Page.Usual) =>
            {
                if ((before is null) != (beforeId is null))
                    throw new ProblemException(400, "invalid_argument", "beforeId: goes with before.", "beforeId");
                var last = before is { } at ? new Alert { RaisedAt = at, AlertId = beforeId!.Value } : null;
                var rows = await caller.Credits.ListAlertsAsync(IsOpen(state), kind, userId, last, Page.Checked(limit) + 1, ct);
                var next = rows.Count > limit ? rows[limit - 1] : null;
                return new AlertPage([.. rows.Take(limit).Select(a => a with { Details = JsonRules.Camel(a.Details)!.AsObject() })], next?.RaisedAt, next?.AlertId);
            })
            .WithSummary("What the worker found that somebody should look at, newest first")
            .WithDescription("The open ones; state=closed or state=all for others. Filters: kind (discrepancy, attachment, high_usage, many_declines), userId. Up to 200 at a time: limit, and before and beforeId, which are the nextBefore and nextBeforeId of the page before.");

        alerts.MapPost("/{alertId:guid}/acknowledge", (Guid alertId, Acknowledge request, Caller caller, CancellationToken ct) =>
                caller.Credits.AcknowledgeAlertAsync(request.UserId ?? Guid.Empty, alertId, request.Note, ct))
            .WithExample("""{ "userId": "00000000-0000-0000-0000-0000000000aa", "note": "a load test of theirs" }""")
            .WithProblems("not_found")
            .WithSummary("Say that somebody has seen an alert")
            .WithDescription("Closes high_usage and many_declines; a discrepancy, and an attachment out of order, is closed by the worker when it is gone. Doing it again changes nothing.");
    }

    private static bool? IsOpen(string state) => state switch
    {
        "open" => true,
        "closed" => false,
        "all" => null,
        _ => throw new ProblemException(400, "invalid_argument", "state: must be open, closed or all.", "state"),
    };

    /// <param name="UserId">The alert's userId; null, or all zeros, for one that is about no user.</param>
    /// <param name="Note">What was found out, up to 1,000 characters.</param>
    internal sealed record Acknowledge(Guid? UserId = null, string? Note = null);

    /// <param name="Alerts">The newest first.</param>
    /// <param name="NextBefore">For the next page, with nextBeforeId; null on the last.</param>
    /// <param name="NextBeforeId">For the next page, with nextBefore.</param>
    internal sealed record AlertPage(IReadOnlyList<Alert> Alerts, DateTimeOffset? NextBefore, Guid? NextBeforeId);
}

using System.Text.Json;
using System.Text.Json.Nodes;
using CreditDb.Host.Access;

namespace CreditDb.Host.Api;

/// <summary>Balances, prices and charges.</summary>
internal static class CreditsEndpoints
{
    private const int LargestBatch = 1_000;

    public static void MapCredits(this IEndpointRouteBuilder api)
    {
        var credits = api.MapGroup("/credits").WithTags("Credits");
        credits.MapGet("/balance", async (HttpContext context, Caller caller, Guid? userId, CancellationToken ct, string creditType = "credits") =>
            {
                var balance = await caller.Credits.GetBalanceAsync(caller.For(userId), creditType, ct);
                return Tagged.Of(context, balance, $"{balance.EntryNo}-");
            })
            .RequireAuthorization(AccessSetup.Reads)
            .Produces<Balance>().Produces(StatusCodes.Status304NotModified)
            .WithProblems("unknown_account")
            .WithSummary("What a user can spend")
            .WithDescription("With an ETag, made of the entry number and all else that the answer shows; If-None-Match is answered with 304 as long as nothing of it changed.");

        credits.MapGet("/costs", async (HttpContext context, Caller caller, CancellationToken ct) => Tagged.Of(context, await CostsAsync(caller, true, ct)))
            .RequireAuthorization(AccessSetup.Reads)
            .Produces<List<ListedCost>>().Produces(StatusCodes.Status304NotModified)
            .WithSummary("The price list: what each action costs")
            .WithDescription("What a plan says of an action otherwise (a price of its own, a limit) is in the answer of /api/credits/check. With an ETag.");

        credits.MapGet("/packages", async (HttpContext context, Caller caller, CancellationToken ct) => Tagged.Of(context, await PackagesAsync(caller, true, ct)))
            .RequireAuthorization(AccessSetup.Reads)
            .Produces<List<ListedPackage>>().Produces(StatusCodes.Status304NotModified)
            .WithSummary("What can be bought")
            .WithDescription("The price is in minor units (cents) of the currency. With an ETag.");

        credits.MapPost("/check", (Check request, Caller caller, CancellationToken ct) =>
                caller.Credits.CanPerformAsync(caller.For(request.UserId), request.ActionType!, request.Quantity ?? 1, ct))
            .RequireAuthorization(AccessSetup.Reads)
            .WithExample("""{ "userId": "00000000-0000-0000-0000-0000000000aa", "actionType": "script_generation", "quantity": 2 }""")
            .WithSummary("Ask whether a user can pay for an action")
            .WithDescription("Always 200 for a well-formed question, also about an unknown account or action: canPerform is false then, and code and reason say why. A forecast: only the charge decides.");

        credits.MapPost("/deduct", (Deduct request, Caller caller, IdempotencyKey key, CancellationToken ct) =>
            {
                caller.MaySpendOn(request.ActionType);
                caller.MayKeep(request.Metadata, "metadata");
                return caller.Credits.DeductAsync(
                    caller.For(request.UserId), request.ActionType!, request.Quantity ?? 1, request.ReferenceId, request.Metadata, key.Value, ct);
            })
            .RequireAuthorization(AccessSetup.Spends)
            .WithExample("""{ "userId": "00000000-0000-0000-0000-0000000000aa", "actionType": "create_agent", "quantity": 1, "metadata": { "agent": "Ada" } }""")
            .WithProblems("insufficient_credits", "limit_reached", "account_suspended", "unknown_account", "unknown_action", "inactive_action", "key_reused")
            .WithSummary("Charge an action");

        credits.MapPost("/deduct/batch", async (HttpContext context, Batch request, Caller caller, IdempotencyKey key, CancellationToken ct) =>
            {
                var requests = Requests(request.Items!, caller, key);
                if (caller.UserId is not null)
                    AccessSetup.Count(context, requests.Count, "items");
                return new BatchResult([.. (await caller.Credits.DeductBatchAsync(requests, ct)).Select(charge => charge with { Argument = Problems.FieldOf(charge.Argument) })]);
            })
            .RequireAuthorization(AccessSetup.Spends)
            .WithExample(
                """
                { "items": [
                  { "userId": "00000000-0000-0000-0000-0000000000aa", "actionType": "send_email", "idempotencyKey": "mail-1" },
                  { "userId": "00000000-0000-0000-0000-0000000000aa", "actionType": "send_email", "quantity": 2, "idempotencyKey": "mail-2" } ] }
                """)
            .WithSummary("Charge up to 1,000 requests, one after the other")
            .WithDescription("One result per item, in order; what is declined or malformed in one of them is its result and leaves the others alone. An item has an idempotencyKey of its own, or else one made of the header and its place, which is no key that anybody could send. Of a user's token each item counts as a request of the user's rate.");

        credits.MapPost("/track", (Track request, Caller caller, IdempotencyKey key, CancellationToken ct) =>
            {
                caller.MaySpendOn(request.Operation);
                if (caller.UserId is not null && request.Usage!.Success is false)
                    throw new ProblemException(403, "forbidden", "A user's token reports what succeeded and is charged; what failed is reported by a service.", "usage/success");
                return TrackAsync(caller, caller.For(request.UserId), request.Operation!, request.Usage!, key.Value, ct);
            })
            .RequireAuthorization(AccessSetup.Spends)
            .WithExample(
                """
                { "userId": "00000000-0000-0000-0000-0000000000aa", "operation": "script_generation",
                  "usage": { "success": true, "service": "writer", "tokensUsed": 1200, "responseTime": 850.5, "timestamp": "2026-01-31T23:59:59Z", "metadata": { "model": "m1" } } }
                """)
            .WithProblems("insufficient_credits", "limit_reached", "account_suspended", "unknown_account", "unknown_action", "inactive_action", "key_reused")
            .WithSummary("Report an operation, and charge it if it succeeded")
            .WithDescription("What failed is kept and costs nothing; only a service can report that.");

        credits.MapPost("/refunds", (RefundRequest request, Caller caller, IdempotencyKey key, CancellationToken ct) =>
                caller.Credits.RefundAsync(
                    caller.For(request.UserId), request.LogId!.Value, request.Amount, request.Reason, key.Value, request.CreditType ?? "credits", ct))
            .RequireAuthorization(AccessSetup.Serves)
            .WithExample("""{ "userId": "00000000-0000-0000-0000-0000000000aa", "logId": 2, "reason": "the agent never answered" }""")
            .WithProblems("unknown_account", "not_found", "already_settled", "key_reused")
            .WithSummary("Give back a charge, or a part of it")
            .WithDescription("logId is that of the charge. Without an amount, all that is left of it goes back.");
    }

    public static Task<List<ListedCost>> CostsAsync(Caller caller, bool activeOnly, CancellationToken ct) => caller.Sql.RowsAsync(
        """
        select c.action_type, c.action_name, trim_scale(c.cost_per_unit), c.unit_description, c.credit_type, c.on_insufficient, c.is_active, c.unit_seconds
        from credits.credit_costs c
        where c.is_active or not $1
        order by c.action_type
        """,
        null,
        r => new ListedCost(
            r.GetString(0), r.GetString(1), r.GetDecimal(2), r.GetString(3), r.GetString(4), r.GetString(5), r.GetBoolean(6), r.GetFieldValue<int?>(7)),
        ct, activeOnly);

    public static Task<List<ListedPackage>> PackagesAsync(Caller caller, bool activeOnly, CancellationToken ct) => caller.Sql.RowsAsync(
        """
        select k.package_id, k.package_name, trim_scale(k.credits), k.price_minor, k.currency, k.features::text, k.is_active, k.sort_order
        from credits.credit_packages k
        where k.is_active or not $1
        order by k.sort_order, k.package_id
        """,
        null,
        r => new ListedPackage(
            r.GetString(0), r.GetString(1), r.GetDecimal(2), r.GetInt64(3), r.GetString(4), JsonSerializer.Deserialize<string[]>(r.GetString(5))!, r.GetBoolean(6), r.GetInt32(7)),
        ct, activeOnly);

    private static List<ChargeRequest> Requests(BatchItem[] items, Caller caller, IdempotencyKey key)
    {
        if (items.Length is 0 or > LargestBatch)
            throw new ProblemException(400, "invalid_argument", $"items: must have 1 to {LargestBatch} elements; there are {items.Length}.", "items");
        return [.. items.Select((item, n) =>
        {
            if (item is null)
                throw new ProblemException(400, "malformed_json", $"items/{n}: must be an object.", $"items/{n}");
            caller.MaySpendOn(item.ActionType, $"items/{n}/actionType");
            caller.MayKeep(item.Metadata, $"items/{n}/metadata");
            return new ChargeRequest(
                caller.For(item.UserId, $"items/{n}/userId"), item.ActionType ?? "", item.Quantity ?? 1, item.ReferenceId, item.Metadata,
                IdempotencyKey.OfItem(caller, item.IdempotencyKey, $"items/{n}/idempotencyKey") ?? key.AtPlace(n));
        })];
    }

    private static async Task<TrackedUsage> TrackAsync(Caller caller, Guid user, string operation, UsageReport usage, string? key, CancellationToken ct)
    {
        var report = new JsonObject
        {
            ["success"] = usage.Success,
            ["service"] = usage.Service,
            ["tokensUsed"] = usage.TokensUsed,
            ["responseTime"] = usage.ResponseTime,
            ["timestamp"] = usage.Timestamp,
            ["metadata"] = usage.Metadata,
        };
        foreach (var (name, value) in report.ToArray())
        {
            if (value is null)
                report.Remove(name);
        }

        caller.MayKeep(report, "usage");
        return CreditClient.Done(await caller.Credits.TrackAsync(user, operation, report, key, ct));
    }

    /// <param name="ActionType">The action, of the price list.</param>
    /// <param name="UserId">Who pays; a user's token may leave it out.</param>
    /// <param name="Quantity">How many priced units; 1 unless given.</param>
    internal sealed record Check(string? ActionType, Guid? UserId = null, decimal? Quantity = null);

    /// <param name="ActionType">The action, of the price list.</param>
    /// <param name="UserId">Who pays; a user's token may leave it out.</param>
    /// <param name="Quantity">How many priced units; 1 unless given.</param>
    /// <param name="ReferenceId">What the charge belongs to; it deduplicates nothing.</param>
    /// <param name="Metadata">Anything to keep with the entry, up to 16 KB.</param>
    internal sealed record Deduct(string? ActionType, Guid? UserId = null, decimal? Quantity = null, Guid? ReferenceId = null, JsonObject? Metadata = null);

    /// <param name="Items">1 to 1,000 charges.</param>
    internal sealed record Batch(BatchItem[]? Items);

    /// <param name="UserId">Who pays; a user's token may leave it out.</param>
    /// <param name="ActionType">The action, of the price list.</param>
    /// <param name="Quantity">How many priced units; 1 unless given.</param>
    /// <param name="ReferenceId">What the charge belongs to; it deduplicates nothing.</param>
    /// <param name="Metadata">Anything to keep with the entry, up to 16 KB.</param>
    /// <param name="IdempotencyKey">Makes a repetition of this item return its first result.</param>
    internal sealed record BatchItem(
        Guid? UserId = null, string? ActionType = null, decimal? Quantity = null, Guid? ReferenceId = null, JsonObject? Metadata = null, string? IdempotencyKey = null);

    /// <param name="Results">One per item, in order.</param>
    internal sealed record BatchResult(IReadOnlyList<Charge> Results);

    /// <param name="Operation">The action, of the price list.</param>
    /// <param name="Usage">What happened.</param>
    /// <param name="UserId">Whose operation; a user's token may leave it out.</param>
    internal sealed record Track(string? Operation, UsageReport? Usage, Guid? UserId = null);

    /// <param name="Success">Whether it succeeded, and is charged.</param>
    /// <param name="Service">What carried it out.</param>
    /// <param name="TokensUsed">How many tokens it took.</param>
    /// <param name="ResponseTime">How long it took, in milliseconds.</param>
    /// <param name="Timestamp">When: ISO 8601 with offset.</param>
    /// <param name="Metadata">Anything to keep with it; all of usage together up to 16 KB.</param>
    internal sealed record UsageReport(
        bool? Success = null, string? Service = null, double? TokensUsed = null, double? ResponseTime = null, string? Timestamp = null, JsonObject? Metadata = null);

    /// <param name="UserId">Who paid.</param>
    /// <param name="LogId">The charge's logId.</param>
    /// <param name="Amount">How many credits; all that is left of the charge unless given.</param>
    /// <param name="Reason">Why, up to 255 characters.</param>
    /// <param name="CreditType">Which credits: credits unless given.</param>
    internal sealed record RefundRequest(Guid? UserId, long? LogId, decimal? Amount = null, string? Reason = null, string? CreditType = null);

    /// <param name="ActionType">The action.</param>
    /// <param name="ActionName">As people read it.</param>
    /// <param name="CostPerUnit">The price of a unit.</param>
    /// <param name="UnitDescription">What a unit is.</param>
    /// <param name="CreditType">Which credits pay for it.</param>
    /// <param name="OnInsufficient">What a charged table does with a row that cannot be paid: notify, reject or debt.</param>
    /// <param name="IsActive">Whether it can be charged.</param>
    /// <param name="UnitSeconds">How long a unit is, of what is metered by time.</param>
    internal sealed record ListedCost(
        string ActionType, string ActionName, decimal CostPerUnit, string UnitDescription, string CreditType, string OnInsufficient, bool IsActive, int? UnitSeconds);

    /// <param name="PackageId">Its id.</param>
    /// <param name="PackageName">As people read it.</param>
    /// <param name="Credits">The credits that it brings.</param>
    /// <param name="PriceMinor">The price in minor units of the currency.</param>
    /// <param name="Currency">ISO 4217.</param>
    /// <param name="Features">What it promises.</param>
    /// <param name="IsActive">Whether it is on sale.</param>
    /// <param name="SortOrder">Where it stands in the list.</param>
    internal sealed record ListedPackage(
        string PackageId, string PackageName, decimal Credits, long PriceMinor, string Currency, string[] Features, bool IsActive, int SortOrder);
}

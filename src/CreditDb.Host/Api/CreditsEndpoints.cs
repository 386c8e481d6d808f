using System.Text.Json.Nodes;
using CreditDb.Host.Access;
using Microsoft.AspNetCore.Mvc;

namespace CreditDb.Host.Api;

/// <summary>Balances and charges.</summary>
internal static class CreditsEndpoints
{
    public static void MapCredits(this IEndpointRouteBuilder api)
    {
        var credits = api.MapGroup("/credits").WithTags("Credits");
        credits.MapGet("/balance", (Caller caller, Guid? userId, CancellationToken ct, string creditType = "credits") =>
                caller.Credits.GetBalanceAsync(caller.For(userId), creditType, ct))
            .RequireAuthorization(AccessSetup.Reads)
            .WithSummary("What a user can spend");
        credits.MapPost("/deduct", (Deduct request, Caller caller, [FromHeader(Name = "Idempotency-Key")] string? idempotencyKey, CancellationToken ct) =>
            {
                caller.MaySpendOn(request.ActionType);
                return caller.Credits.DeductAsync(
                    caller.For(request.UserId), request.ActionType, request.Quantity ?? 1, request.ReferenceId, request.Metadata, idempotencyKey, ct);
            })
            .RequireAuthorization(AccessSetup.Spends)
            .WithSummary("Charge an action");
    }

    internal sealed record Deduct(Guid? UserId, string ActionType, decimal? Quantity, Guid? ReferenceId, JsonObject? Metadata);
}

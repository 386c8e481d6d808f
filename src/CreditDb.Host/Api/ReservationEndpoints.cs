using System.Text.Json.Nodes;
using CreditDb.Host.Access;

namespace CreditDb.Host.Api;

/// <summary>Holds: reserve, do the work, settle. Only a service settles, so no user gets the work and the credits back.</summary>
internal static class ReservationEndpoints
{
    public static void MapReservations(this IEndpointRouteBuilder api)
    {
        var reservations = api.MapGroup("/credits/reservations").WithTags("Reservations");
        reservations.MapPost("/", (Reserve request, Caller caller, IdempotencyKey key, CancellationToken ct) =>
            {
                caller.MaySpendOn(request.ActionType);
                caller.MayKeep(request.Metadata, "metadata");
                return caller.Credits.ReserveAsync(
                    caller.For(request.UserId), request.ActionType!, request.Quantity ?? 1, Ttl(request.TtlSeconds), request.Metadata, key.Value, ct);
            })
            .RequireAuthorization(AccessSetup.Spends)
            .WithExample("""{ "userId": "00000000-0000-0000-0000-0000000000aa", "actionType": "script_generation", "quantity": 3, "ttlSeconds": 600 }""")
            .WithProblems("insufficient_credits", "limit_reached", "account_suspended", "unknown_account", "unknown_action", "inactive_action", "key_reused")
            .WithSummary("Hold the price of work that is about to start")
            .WithDescription("The credits leave what can be spent at once, at today's price. The hold lapses after ttlSeconds (15 minutes unless given) and gives them back.");

        reservations.MapPost("/{reservationId:guid}/commit", (Guid reservationId, Commit request, Caller caller, CancellationToken ct) =>
                caller.Credits.CommitReservationAsync(caller.For(request.UserId), reservationId, request.Quantity, request.Metadata, ct))
            .RequireAuthorization(AccessSetup.Serves)
            .WithExample("""{ "userId": "00000000-0000-0000-0000-0000000000aa", "quantity": 2 }""")
            .WithProblems("insufficient_credits", "limit_reached", "account_suspended", "unknown_account", "not_found", "reservation_settled")
            .WithSummary("Charge what the work came to")
            .WithDescription("As many units as were held unless quantity says another number. Committing again with the same quantity returns the first result. If it is declined, the hold stays.");

        reservations.MapPost("/{reservationId:guid}/release", (Guid reservationId, Release request, Caller caller, CancellationToken ct) =>
                caller.Credits.ReleaseReservationAsync(caller.For(request.UserId), reservationId, request.Reason, ct))
            .RequireAuthorization(AccessSetup.Serves)
            .WithExample("""{ "userId": "00000000-0000-0000-0000-0000000000aa", "reason": "the model failed" }""")
            .WithProblems("unknown_account", "not_found", "reservation_settled")
            .WithSummary("End a hold without a charge")
            .WithDescription("Releasing again changes nothing.");

        reservations.MapPost("/{reservationId:guid}/extend", (Guid reservationId, Extend request, Caller caller, CancellationToken ct) =>
                caller.Credits.ExtendReservationAsync(caller.For(request.UserId), reservationId, Ttl(request.TtlSeconds), ct))
            .RequireAuthorization(AccessSetup.Serves)
            .WithExample("""{ "userId": "00000000-0000-0000-0000-0000000000aa", "ttlSeconds": 600 }""")
            .WithProblems("unknown_account", "not_found", "reservation_settled")
            .WithSummary("Let a hold last until ttlSeconds from now")
            .WithDescription("Never shortens it.");
    }

    private static TimeSpan? Ttl(int? seconds) => seconds is { } s ? TimeSpan.FromSeconds(s) : null;

    /// <param name="ActionType">The action, of the price list.</param>
    /// <param name="UserId">Who pays; a user's token may leave it out.</param>
    /// <param name="Quantity">How many priced units; 1 unless given.</param>
    /// <param name="TtlSeconds">When the hold lapses by itself, up to 30 days; 15 minutes unless given.</param>
    /// <param name="Metadata">Anything to keep with the entry, up to 16 KB.</param>
    internal sealed record Reserve(string? ActionType, Guid? UserId = null, decimal? Quantity = null, int? TtlSeconds = null, JsonObject? Metadata = null);

    /// <param name="UserId">Whose hold.</param>
    /// <param name="Quantity">How many units the work came to; as many as were held unless given.</param>
    /// <param name="Metadata">Anything to keep with the entry, up to 16 KB.</param>
    internal sealed record Commit(Guid? UserId, decimal? Quantity = null, JsonObject? Metadata = null);

    /// <param name="UserId">Whose hold.</param>
    /// <param name="Reason">Why, up to 255 characters.</param>
    internal sealed record Release(Guid? UserId, string? Reason = null);

    /// <param name="UserId">Whose hold.</param>
    /// <param name="TtlSeconds">How long from now, up to 30 days; 15 minutes unless given.</param>
    internal sealed record Extend(Guid? UserId, int? TtlSeconds = null);
}

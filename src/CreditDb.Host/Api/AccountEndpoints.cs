using CreditDb.Host.Access;
using Microsoft.AspNetCore.Http.HttpResults;

namespace CreditDb.Host.Api;

/// <summary>Accounts, as services open them.</summary>
internal static class AccountEndpoints
{
    public static void MapAccounts(this IEndpointRouteBuilder api) => api.MapPost(
            "/accounts",
            async Task<Results<Ok<Account>, Created<Account>>> (OpenAccount request, Caller caller, CancellationToken ct) =>
            {
                var account = await caller.Credits.OpenAccountAsync(request.UserId!.Value, request.PlanId ?? "free", request.TimeZone ?? "UTC", ct);
                return account.Opened ? TypedResults.Created((string?)null, account) : TypedResults.Ok(account);
            })
        .RequireAuthorization(AccessSetup.Serves)
        .WithTags("Accounts")
        .WithExample("""{ "userId": "00000000-0000-0000-0000-0000000000aa", "planId": "free", "timeZone": "Europe/Berlin" }""")
        .WithSummary("Open an account")
        .WithDescription("201 if it was opened now. An account that is there is left as it is: 200, with its own plan and time zone.");

    /// <param name="UserId">Whose account.</param>
    /// <param name="PlanId">The plan; free unless given.</param>
    /// <param name="TimeZone">The IANA zone that its periods are counted in; UTC unless given.</param>
    internal sealed record OpenAccount(Guid? UserId, string? PlanId = null, string? TimeZone = null);
}

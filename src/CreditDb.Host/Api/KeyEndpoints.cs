using CreditDb.Host.Access;

namespace CreditDb.Host.Api;

/// <summary>The API's keys.</summary>
internal static class KeyEndpoints
{
    public static void MapKeys(this IEndpointRouteBuilder admin)
    {
        var keys = admin.MapGroup("/keys").WithTags("Keys");
        keys.MapGet("/", (ApiKeys all, CancellationToken ct) => all.ListAsync(ct)).WithSummary("List the keys, newest first");
        keys.MapPost("/", async (CreateKey key, Caller caller, ApiKeys all, CancellationToken ct) =>
                TypedResults.Created((string?)null, await all.CreateAsync(key.Name, key.Scopes, key.ForUser, key.ExpiresAt, caller.Actor, ct)))
            .WithSummary("Make a key")
            .WithDescription("The answer has the key in full, and is the only one that does.");
        keys.MapDelete("/{keyId}", (string keyId, Caller caller, ApiKeys all, CancellationToken ct) => all.RevokeAsync(keyId, caller.Actor, ct))
            .WithSummary("End a key, and the tokens that it minted");
    }

    /// <param name="Name">What people know it by.</param>
    /// <param name="Scopes">service, admin, or user (with forUser) and spend or spend:ACTION.</param>
    /// <param name="ForUser">The user of a key of the scope user.</param>
    /// <param name="ExpiresAt">When it ends by itself; null: never.</param>
    internal sealed record CreateKey(string Name, string[] Scopes, Guid? ForUser = null, DateTimeOffset? ExpiresAt = null);
}

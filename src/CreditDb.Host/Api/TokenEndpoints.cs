using System.ComponentModel.DataAnnotations;
using CreditDb.Host.Access;
using Microsoft.Extensions.Options;

namespace CreditDb.Host.Api;

/// <summary>Tokens for browsers.</summary>
internal static class TokenEndpoints
{
    public static void MapTokens(this IEndpointRouteBuilder api) => api.MapPost("/tokens", Mint)
        .RequireAuthorization(AccessSetup.Serves)
        .WithTags("Tokens")
        .WithExample("""{ "userId": "00000000-0000-0000-0000-0000000000aa", "scopes": ["spend:send_email"], "minutes": 15 }""")
        .WithSummary("Mint a short-lived token for one user's browser")
        .WithDescription("The token reads, checks and buys for its user. It spends only with the scope spend, or on one action with spend:ACTION.");

    private static MintedToken Mint(MintToken request, Caller caller, UserTokens tokens, IOptions<AccessOptions> options)
    {
        var scopes = (request.Scopes ?? []).Distinct(StringComparer.Ordinal).ToArray();
        if (scopes.Select(s => s ?? "null").FirstOrDefault(s => s is not "spend" && !(s.StartsWith("spend:", StringComparison.Ordinal) && s.Length is > 6 and <= 106)) is { } wrong)
            throw new ProblemException(400, "invalid_argument", $"A token's scopes are spend and spend:ACTION, not {wrong}.", "scopes");
        if (scopes.Length > 20)
            throw new ProblemException(400, "invalid_argument", "A token has at most 20 scopes.", "scopes");
        var minutes = request.Minutes ?? options.Value.TokenMinutes;
        if (minutes is < 1 or > 60)
            throw new ProblemException(400, "invalid_argument", "A token lasts 1 to 60 minutes.", "minutes");
        var (token, expiresAt) = tokens.Mint(request.UserId, ["user", .. scopes], caller.KeyId, TimeSpan.FromMinutes(minutes));
        return new MintedToken(token, expiresAt, request.UserId, scopes);
    }

    /// <param name="UserId">Whose token it is.</param>
    /// <param name="Scopes">spend, or spend:ACTION for one action; none: it cannot spend.</param>
    /// <param name="Minutes">How long it lasts, up to 60.</param>
    internal sealed record MintToken([property: Required] Guid UserId, string[]? Scopes = null, int? Minutes = null);

    internal sealed record MintedToken(string Token, DateTimeOffset ExpiresAt, Guid UserId, string[] Scopes);
}

using System.Security.Claims;
using System.Text.Encodings.Web;
using CreditDb.Host.Api;
using Microsoft.AspNetCore.Authentication;
using Microsoft.AspNetCore.Authorization;
using Microsoft.Extensions.Options;

namespace CreditDb.Host.Access;

/// <summary>Knows callers by "Authorization: Bearer …", an API key or a user token.</summary>
internal sealed class CallerAuthentication(
    IOptionsMonitor<AuthenticationSchemeOptions> options, ILoggerFactory logger, UrlEncoder encoder, ApiKeys keys, UserTokens tokens)
    : AuthenticationHandler<AuthenticationSchemeOptions>(options, logger, encoder)
{
    public const string SchemeName = "Bearer";

    protected override async Task<AuthenticateResult> HandleAuthenticateAsync()
    {
        if (Credential() is not { } text)
            return AuthenticateResult.NoResult();
        if (tokens.Read(text) is { } token)
        {
            return await keys.FindAsync(token.KeyId, null, Context.RequestAborted) is null
                ? AuthenticateResult.Fail("The key that minted the token is gone.")
                : Success(token.KeyId, token.Scopes, token.UserId, token.ExpiresAt);
        }

        return ApiKey.Parse(text) is { } key && await keys.FindAsync(key.Id, Context.Connection.RemoteIpAddress?.ToString() ?? "", Context.RequestAborted) is { } check && key.Matches(check)
            ? Success(key.Id, check.Scopes, check.ForUser)
            : AuthenticateResult.Fail("The key or token is unknown, revoked or expired.");
    }

    protected override async Task HandleChallengeAsync(AuthenticationProperties properties)
    {
        Response.Headers.WWWAuthenticate = SchemeName;
        await Problems.WriteAsync(Context, Credential() is null
            ? new ProblemException(401, "unauthenticated", "Send an API key or a user token: Authorization: Bearer …")
            : new ProblemException(401, "unauthenticated", "The key or token is unknown, revoked or expired."));
    }

    protected override Task HandleForbiddenAsync(AuthenticationProperties properties) =>
        Problems.WriteAsync(Context, new ProblemException(403, "forbidden", $"This key or token may not do that: it needs {Needed(Context.GetEndpoint())}."));

    private static string Needed(Endpoint? endpoint) => endpoint?.Metadata.GetMetadata<IAuthorizeData>()?.Policy switch
    {
        AccessSetup.Reads => "the scope service, or user",
        AccessSetup.Spends => "the scope service, or spend",
        AccessSetup.Serves => "the scope service",
        AccessSetup.Administers => "the scope admin",
        _ => "another scope",
    };

    private string? Credential()
    {
        var header = Request.Headers.Authorization.ToString();
        if (header.StartsWith(SchemeName + " ", StringComparison.OrdinalIgnoreCase))
            return header[(SchemeName.Length + 1)..].Trim();

        // A browser's EventSource cannot send headers.
        return Context.GetEndpoint()?.Metadata.GetMetadata<TokenInQuery>() is not null && HiddenTokens.Of(Context) is { } token ? token : null;
    }

    private static AuthenticateResult Success(string keyId, string[] scopes, Guid? user, DateTimeOffset? expiresAt = null)
    {
        var claims = scopes.Select(scope => new Claim(Caller.ScopeClaim, scope)).Append(new Claim(Caller.KeyClaim, keyId));
        if (user is { } id)
            claims = claims.Append(new Claim(Caller.UserClaim, id.ToString()));
        return AuthenticateResult.Success(new AuthenticationTicket(new ClaimsPrincipal(new ClaimsIdentity(claims, SchemeName)), new() { ExpiresUtc = expiresAt }, SchemeName));
    }
}

/// <summary>Marks an endpoint that takes ?access_token=… too.</summary>
internal sealed class TokenInQuery;

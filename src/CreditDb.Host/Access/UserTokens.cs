using System.Security.Cryptography;
using System.Text.Json;
using Microsoft.AspNetCore.DataProtection;

namespace CreditDb.Host.Access;

/// <summary>Short-lived tokens for one user's browser, minted by a service's key: sealed by data protection, so the host keeps none of them.</summary>
internal sealed class UserTokens(IDataProtectionProvider protection, TimeProvider time)
{
    private const string Prefix = "cdbu_";

    private readonly IDataProtector _protector = protection.CreateProtector("CreditDb.UserTokens.v1");

    /// <summary>A token for a user. Scopes are user, and spend or spend:ACTION where the service allows that.</summary>
    public (string Token, DateTimeOffset ExpiresAt) Mint(Guid userId, string[] scopes, string keyId, TimeSpan lifetime)
    {
        var expiresAt = time.GetUtcNow() + lifetime;
        return (Prefix + _protector.Protect(JsonSerializer.Serialize(new UserToken(userId, scopes, keyId, expiresAt))), expiresAt);
    }

    /// <summary>The token if it is one of ours and has not expired.</summary>
    public UserToken? Read(string text)
    {
        if (!text.StartsWith(Prefix, StringComparison.Ordinal))
            return null;
        try
        {
            var token = JsonSerializer.Deserialize<UserToken>(_protector.Unprotect(text[Prefix.Length..]));
            return token?.ExpiresAt > time.GetUtcNow() ? token : null;
        }
        catch (CryptographicException)
        {
            return null;
        }
    }
}

/// <summary>What a token says. It is worth no more than the key that minted it.</summary>
internal sealed record UserToken(Guid UserId, string[] Scopes, string KeyId, DateTimeOffset ExpiresAt);

using System.Security.Claims;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;
using CreditDb.Host.Api;
using Microsoft.Extensions.Options;

namespace CreditDb.Host.Access;

/// <summary>Who calls: a service (for any user), a user (for itself) or an operator.</summary>
internal sealed class Caller
{
    public const string UserClaim = "user";
    public const string KeyClaim = "key";
    public const string ScopeClaim = "scope";

    // As PostgreSQL writes it: text as text.
    private static readonly JsonSerializerOptions Written = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    private readonly ClaimsPrincipal _principal;
    private readonly HashSet<Guid> _actedFor = [];
    private readonly int _userMetadataBytes;
    private int _metadataBytes;

    private Caller(ClaimsPrincipal principal, CreditClient credits, SqlCaller sql, AccessOptions options)
    {
        _principal = principal;
        _userMetadataBytes = options.UserMetadataBytes;
        UserId = principal.FindFirstValue(UserClaim) is { } user ? Guid.Parse(user) : null;
        KeyId = principal.FindFirstValue(KeyClaim)!;
        Credits = credits.As(Actor);
        Sql = sql.As(Actor);
    }

    /// <summary>The user, if the caller is one.</summary>
    public Guid? UserId { get; }

    public string KeyId { get; }

    /// <summary>What is kept in every entry that the caller makes.</summary>
    public string Actor => UserId is { } user ? $"user {user} by {KeyId}" : KeyId;

    /// <summary>The engine, on the caller's behalf.</summary>
    public CreditClient Credits { get; }

    /// <summary>The engine's functions that only hosts call, on the caller's behalf.</summary>
    public SqlCaller Sql { get; }

    /// <summary>For whom the request was so far.</summary>
    public IReadOnlyCollection<Guid> ActedFor => _actedFor;

    /// <summary>For whom the request is: a service names a user, a user can only name itself.</summary>
    public Guid For(Guid? named, string field = "userId")
    {
        var user = UserId switch
        {
            null when named is null || named == Guid.Empty => throw new ProblemException(400, "user_required", $"A service names the user: {field} is missing.", field),
            null => named.Value,
            { } own when named is null || named == own => own,
            _ => throw new ProblemException(403, "another_user", "A user's token acts for its own user only.", field),
        };
        _actedFor.Add(user);
        return user;
    }

    /// <summary>Refuses a user whose token may not spend on this action.</summary>
    public void MaySpendOn(string? action, string? field = null)
    {
        if (UserId is not null && !_principal.HasClaim(ScopeClaim, "spend") && !_principal.HasClaim(ScopeClaim, $"spend:{action}"))
            throw new ProblemException(403, "scope_missing", $"The token lacks the scope spend or spend:{action}.", field);
    }

    /// <summary>Refuses a user who would have more kept by one request than a user may.</summary>
    public void MayKeep(JsonObject? metadata, string field)
    {
        if (UserId is null || metadata is null)
            return;
        _metadataBytes += Encoding.UTF8.GetByteCount(metadata.ToJsonString(Written));
        if (_metadataBytes > _userMetadataBytes)
            throw new ProblemException(400, "invalid_argument", $"{field}: a user's token may have at most {_userMetadataBytes} bytes kept by a request.", field);
    }

    public static ValueTask<Caller> BindAsync(HttpContext context) => ValueTask.FromResult(new Caller(
        context.User, context.RequestServices.GetRequiredService<CreditClient>(), context.RequestServices.GetRequiredService<SqlCaller>(),
        context.RequestServices.GetRequiredService<IOptions<AccessOptions>>().Value));
}

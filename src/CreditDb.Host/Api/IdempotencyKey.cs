using System.Globalization;
using CreditDb.Host.Access;

namespace CreditDb.Host.Api;

/// <summary>The header Idempotency-Key: a write that is repeated with it is done once.</summary>
internal sealed record IdempotencyKey(string? Value)
{
    public const string Header = "Idempotency-Key";

    private const int Longest = 255;

    // What a user's token sends is kept apart from what services send for that user: nobody can use up, or replay, a key that a service is about to use.
    private const string UserPrefix = "user:";

    /// <summary>The key of a batch's item, by the rules of the header.</summary>
    public static string? OfItem(Caller caller, string? key, string field) => key is null ? null : Checked(key, caller.UserId is not null, field);

    /// <summary>The key of a batch's item that has none: the dot is no ASCII character, so nobody can send this key as a header's or an item's.</summary>
    public string? AtPlace(int n)
    {
        if (Value is null)
            return null;
        var key = string.Create(CultureInfo.InvariantCulture, $"{Value}·{n}");
        return key.Length <= Longest
            ? key
            : throw new ProblemException(400, "invalid_idempotency_key", $"{Header}: is too long for a batch whose items have no key of their own; shorten it by 4 characters.");
    }

    /// <summary>Every write takes the header, also where repeating it changes nothing anyway; so it must be well-formed everywhere.</summary>
    public static ValueTask<object?> Check(EndpointFilterInvocationContext context, EndpointFilterDelegate next)
    {
        Read(context.HttpContext);
        return next(context);
    }

    public static ValueTask<IdempotencyKey> BindAsync(HttpContext context) => ValueTask.FromResult(new IdempotencyKey(Read(context)));

    private static string? Read(HttpContext context)
    {
        var values = context.Request.Headers[Header];
        return values.Count switch
        {
            0 => null,
            1 => Checked(values[0]!, context.User.HasClaim(c => c.Type == Caller.UserClaim), null),
            _ => throw new ProblemException(400, "invalid_idempotency_key", $"{Header}: there must be one."),
        };
    }

    private static string Checked(string key, bool isOfUser, string? field)
    {
        var longest = isOfUser ? Longest - UserPrefix.Length : Longest;
        return key.Length >= 1 && key.Length <= longest && key.All(c => c is >= ' ' and <= '~') && (isOfUser || !key.StartsWith(UserPrefix, StringComparison.Ordinal))
            ? isOfUser ? UserPrefix + key : key
            : throw new ProblemException(400, "invalid_idempotency_key", $"{field ?? Header}: must have 1 to {longest} printable ASCII characters{(isOfUser ? "" : $" and not begin with {UserPrefix}")}.", field);
    }
}

using System.Text.Json;
using Npgsql;

namespace CreditDb;

/// <summary>Something that the engine refused. Nothing was changed by the call.</summary>
public class CreditException : Exception
{
    internal CreditException(string message, string code, string? detail, Exception? inner)
        : base(message, inner) => (Code, Detail) = (code, detail);

    /// <summary>The outcome's code (insufficient_credits, unknown_account, …), or that of the error (invalid_argument, key_reused, …).</summary>
    public string Code { get; }

    /// <summary>What the engine says of it, as JSON; null if the connection does not include error details.</summary>
    public string? Detail { get; }

    /// <summary>What was declined, with all that the engine says of it; null for an error that it raised.</summary>
    public Outcome? Outcome { get; private init; }

    /// <summary>The error as the engine raised it, or null for an error of another kind.</summary>
    internal static CreditException? From(PostgresException error)
    {
        if (!error.SqlState.StartsWith("UC", StringComparison.Ordinal))
            return null;
        var detail = error.Detail is { } text && text.StartsWith('{') ? text : null;
        return error.SqlState switch
        {
            "UC001" => new InvalidArgumentException(error.MessageText, detail, error),
            "UC101" => new InsufficientCreditsException(error.MessageText, Number(detail, "required"), Number(detail, "available"), detail, error),
            "UC201" or "UC202" => new IdempotencyKeyException(error.MessageText, error.SqlState == "UC201" ? "key_reused" : "key_erased", detail, error),
            _ => new CreditException(error.MessageText, Text(detail, "code") ?? error.SqlState, detail, error),
        };
    }

    /// <summary>The exception for an operation that was declined.</summary>
    internal static CreditException From(Outcome outcome)
    {
        var message = outcome.Error ?? outcome.Code;
        return outcome.Code switch
        {
            "insufficient_credits" when outcome is ChatMessage chat => new InsufficientChatMessagesException(message, chat.Remaining) { Outcome = outcome },
            "insufficient_credits" when outcome is Charge charge =>
                new InsufficientCreditsException(message, charge.Required, charge.Available, null, null) { Outcome = outcome },
            "insufficient_credits" => new InsufficientCreditsException(message, null, null, null, null) { Outcome = outcome },
            "limit_reached" when outcome is Charge charge => new LimitReachedException(message, charge.Limit, charge.Used) { Outcome = outcome },
            "unknown_account" => new UnknownAccountException(message) { Outcome = outcome },
            "account_suspended" => new AccountSuspendedException(message) { Outcome = outcome },
            _ => new CreditException(message, outcome.Code, null, null) { Outcome = outcome },
        };
    }

    /// <summary>The exception for a request of a batch that would have raised an error by itself; null for any other outcome.</summary>
    internal static CreditException? OfItem(Charge outcome) => outcome.Code switch
    {
        "invalid_argument" => new InvalidArgumentException(
            $"invalid argument p_{outcome.Argument}: {outcome.Problem}",
            JsonSerializer.Serialize(new { code = outcome.Code, argument = "p_" + outcome.Argument, problem = outcome.Problem }), null),
        "key_reused" or "key_erased" => new IdempotencyKeyException(outcome.Error!, outcome.Code, null, null),
        _ => null,
    };

    private static string? Text(string? detail, string property) =>
        detail is not null && JsonDocument.Parse(detail).RootElement.TryGetProperty(property, out var value) ? value.ToString() : null;

    private static decimal? Number(string? detail, string property) =>
        Text(detail, property) is { } text && decimal.TryParse(text, System.Globalization.CultureInfo.InvariantCulture, out var value) ? value : null;
}

/// <summary>The balance does not cover it.</summary>
public sealed class InsufficientCreditsException : CreditException
{
    internal InsufficientCreditsException(string message, decimal? required, decimal? available, string? detail, Exception? inner)
        : base(message, "insufficient_credits", detail, inner) => (Required, Available) = (required, available);

    /// <summary>What it costs.</summary>
    public decimal? Required { get; }

    /// <summary>What could be spent.</summary>
    public decimal? Available { get; }
}

/// <summary>The user has no chat message left.</summary>
public sealed class InsufficientChatMessagesException : CreditException
{
    internal InsufficientChatMessagesException(string message, decimal? remaining)
        : base(message, "insufficient_credits", null, null) => Remaining = remaining;

    /// <summary>How many are left.</summary>
    public decimal? Remaining { get; }
}

/// <summary>The plan's limit for the action is reached in this period.</summary>
public sealed class LimitReachedException : CreditException
{
    internal LimitReachedException(string message, decimal? limit, decimal? used)
        : base(message, "limit_reached", null, null) => (Limit, Used) = (limit, used);

    /// <summary>How many priced units the plan allows.</summary>
    public decimal? Limit { get; }

    /// <summary>How many are used.</summary>
    public decimal? Used { get; }
}

/// <summary>There is no account for the user.</summary>
public sealed class UnknownAccountException : CreditException
{
    internal UnknownAccountException(string message)
        : base(message, "unknown_account", null, null)
    {
    }
}

/// <summary>The account may not spend.</summary>
public sealed class AccountSuspendedException : CreditException
{
    internal AccountSuspendedException(string message)
        : base(message, "account_suspended", null, null)
    {
    }
}

/// <summary>An argument that no call can have.</summary>
public sealed class InvalidArgumentException : CreditException
{
    internal InvalidArgumentException(string message, string? detail, Exception? inner)
        : base(message, "invalid_argument", detail, inner)
    {
    }
}

/// <summary>The idempotency key was used for another request, or before the user's data were erased.</summary>
public sealed class IdempotencyKeyException : CreditException
{
    internal IdempotencyKeyException(string message, string code, string? detail, Exception? inner)
        : base(message, code, detail, inner)
    {
    }
}

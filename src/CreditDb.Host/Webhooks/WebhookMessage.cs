using System.Text.Json;
using System.Text.Json.Nodes;

namespace CreditDb.Host.Webhooks;

/// <summary>What is sent: an event of a user (none: a test).</summary>
internal sealed record WebhookMessage(Uri? Url, string[] Secrets, Guid EventId, string Type, DateTimeOffset CreatedAt, Guid? UserId, JsonNode? Data, int Attempt)
{
    /// <summary>The same bytes in every attempt.</summary>
    public byte[] Body() => JsonSerializer.SerializeToUtf8Bytes(
        new { id = EventId, type = Type, createdAt = CreatedAt.UtcDateTime, userId = UserId, data = Camel(Data) });

    /// <summary>The engine's JSON as HTTP shows it: names in camelCase, values as they are.</summary>
    public static JsonNode? Camel(JsonNode? node) => node switch
    {
        JsonObject fields => new JsonObject(fields.Select(f => KeyValuePair.Create(Camel(f.Key), Camel(f.Value)))),
        JsonArray items => new JsonArray([.. items.Select(Camel)]),
        _ => node?.DeepClone(),
    };

    private static string Camel(string snake)
    {
        var words = snake.Split('_', StringSplitOptions.RemoveEmptyEntries);
        return words.Length == 0 ? snake : words[0] + string.Concat(words.Skip(1).Select(w => char.ToUpperInvariant(w[0]) + w[1..]));
    }
}

/// <summary>How an attempt went. Error is null if the endpoint took the event.</summary>
internal sealed record WebhookAnswer(int? Status, string? Error, TimeSpan? RetryAfter, TimeSpan Elapsed);

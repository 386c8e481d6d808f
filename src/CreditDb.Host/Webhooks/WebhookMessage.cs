using System.Text.Json;
using System.Text.Json.Nodes;
using CreditDb.Host.Api;

namespace CreditDb.Host.Webhooks;

/// <summary>What is sent: an event of a user (none: a test).</summary>
internal sealed record WebhookMessage(Uri? Url, string[] Secrets, Guid EventId, string Type, DateTimeOffset CreatedAt, Guid? UserId, JsonNode? Data, int Attempt)
{
    /// <summary>The same bytes in every attempt.</summary>
    public byte[] Body() => JsonSerializer.SerializeToUtf8Bytes(
        new { id = EventId, type = Type, createdAt = CreatedAt.UtcDateTime, userId = UserId, data = JsonRules.Camel(Data) });
}

/// <summary>How an attempt went. Error is null if the endpoint took the event.</summary>
internal sealed record WebhookAnswer(int? Status, string? Error, TimeSpan? RetryAfter, TimeSpan Elapsed);

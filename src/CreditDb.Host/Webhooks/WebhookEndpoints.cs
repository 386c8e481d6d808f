using System.Text.Json.Nodes;
using CreditDb.Host.Access;
using CreditDb.Host.Api;
using Microsoft.AspNetCore.Http.HttpResults;

namespace CreditDb.Host.Webhooks;

/// <summary>Where events are sent, and what could not be.</summary>
internal static class WebhookEndpoints
{
    public static void MapWebhooks(this IEndpointRouteBuilder admin)
    {
        var webhooks = admin.MapGroup("/webhooks").WithTags("Webhooks");
        webhooks.MapGet("/", (Caller caller, CancellationToken ct) => caller.Sql.GetWebhookEndpointsAsync(ct)).WithSummary("List the endpoints, and how each fares");
        webhooks.MapPost("/", Create)
            .WithExample("""{ "url": "https://example.com/creditdb", "events": ["purchase.*"], "description": "billing" }""")
            .WithProblems("key_reused")
            .WithSummary("Add an endpoint")
            .WithDescription("The answer has the secret that verifies what is sent there; no other has it, but for a repetition with the same Idempotency-Key: 200, and the secret as long as it was not rotated.");
        webhooks.MapPut("/{endpointId:guid}", Change)
            .WithExample("""{ "isActive": true }""")
            .WithProblems("not_found")
            .WithSummary("Change an endpoint; what is left out stays")
            .WithDescription("Also ends its pause after failures.");
        webhooks.MapDelete("/{endpointId:guid}", async (Guid endpointId, Caller caller, CancellationToken ct) =>
                CreditClient.Done(await caller.Sql.JsonAsync<DeletedEndpoint>("select credits.delete_webhook_endpoint($1)", null, ct, endpointId)))
            .WithProblems("not_found")
            .WithSummary("Remove an endpoint, and what it was not sent yet");
        webhooks.MapPost("/{endpointId:guid}/test", Test)
            .WithProblems("not_found")
            .WithSummary("Send an endpoint a test event now, and say what it answered");
        webhooks.MapPost("/{endpointId:guid}/rotate-secret", Rotate)
            .WithExample("""{ "overlapHours": 24 }""")
            .WithProblems("not_found")
            .WithSummary("Give an endpoint a new secret")
            .WithDescription("The previous one signs as well for 24 hours, or overlapHours. The answer has the new secret; no other has it, but for a repetition of the last rotation with the same Idempotency-Key.");
        webhooks.MapPost("/{endpointId:guid}/retry-dead", (Guid endpointId, Caller caller, CancellationToken ct) => RetryAsync(caller, endpointId, null, ct))
            .WithSummary("Send all events again that could not be delivered to an endpoint");
        webhooks.MapGet("/dead", Dead)
            .WithSummary("List the events that could not be delivered, newest first")
            .WithDescription("The next page: before and beforeId are createdAt and deliveryId of the last one.");
        webhooks.MapPost("/dead/{deliveryId:guid}/retry", (Guid deliveryId, Caller caller, CancellationToken ct) => RetryAsync(caller, null, deliveryId, ct))
            .WithSummary("Send an event again that could not be delivered");
    }

    private static async Task<Results<Ok<CreatedEndpoint>, Created<CreatedEndpoint>>> Create(
        CreateEndpoint request, Caller caller, WebhookSender sender, IdempotencyKey key, CancellationToken ct)
    {
        if (request.Url is null)
            throw new ProblemException(400, "invalid_argument", "url is missing.", "url");
        Check(request.Url);

        // A key makes the id, so that repeating the request finds the endpoint again; without one each request makes one.
        var name = Of(caller, key) ?? Guid.NewGuid().ToString();
        var made = CreditClient.Done(await caller.Sql.JsonAsync<Endpoint>(
            "select credits.set_webhook_endpoint(credits.uuid_v5($1, 'webhook endpoint ' || $2), $3, $4, $5, $6, $7, true)", name, ct,
            Guid.Empty, name, request.Url, sender.NewSecret(), request.Events, request.Description, request.IsActive));
        var shown = new CreatedEndpoint(
            made.EndpointId, made.Url, made.Description, made.Events, made.IsActive, made.CreatedAt, sender.Reveal(made.Secret), made.Replayed);
        return made.Replayed ? TypedResults.Ok(shown) : TypedResults.Created((string?)null, shown);
    }

    private static async Task<ChangedEndpoint> Change(Guid endpointId, ChangeEndpoint change, Caller caller, CancellationToken ct)
    {
        Check(change.Url);
        return CreditClient.Done(await caller.Sql.JsonAsync<ChangedEndpoint>(
            "select credits.set_webhook_endpoint($1, $2, null, $3, $4, $5)", endpointId.ToString(), ct,
            endpointId, change.Url, change.Events, change.Description, change.IsActive));
    }

    private static void Check(string? url)
    {
        if (url is not null && !Uri.TryCreate(url, UriKind.Absolute, out _))
            throw new ProblemException(400, "invalid_argument", "url: must be an address, such as https://example.com/hooks", "url");
    }

    /// <summary>What is repeated shows a secret, so it is repeated by the same caller only.</summary>
    private static string? Of(Caller caller, IdempotencyKey key) => key.Value is { } value ? $"{caller.KeyId} {value}" : null;

    private static async Task<RotatedSecret> Rotate(
        Guid endpointId, RotateSecret? request, Caller caller, WebhookSender sender, IdempotencyKey key, CancellationToken ct)
    {
        var name = Of(caller, key) ?? Guid.NewGuid().ToString();
        var rotated = CreditClient.Done(await caller.Sql.JsonAsync<RotatedSecret>(
            "select credits.rotate_webhook_secret($1, $2, make_interval(hours => $3), $4)", name, ct,
            endpointId, sender.NewSecret(), request?.OverlapHours ?? 24, name));
        return rotated with { Secret = sender.Reveal(rotated.Secret) };
    }

    private static async Task<TestAnswer> Test(Guid endpointId, Caller caller, WebhookSender sender, TimeProvider time, CancellationToken ct)
    {
        var (url, secrets) = await caller.Sql.GetWebhookTargetAsync(endpointId, ct) ?? throw new ProblemException(404, "not_found", "There is no such endpoint.");
        var message = new WebhookMessage(
            url, secrets, Guid.NewGuid(), "webhook.test", time.GetUtcNow(), null, new JsonObject { ["message"] = "This endpoint receives events of CreditDb." }, 1);
        var answer = await sender.SendAsync(message, ct);
        return new TestAnswer(message.EventId, answer.Error is null, answer.Status, answer.Error, Math.Round(answer.Elapsed.TotalMilliseconds));
    }

    private static async Task<Retried> RetryAsync(Caller caller, Guid? endpointId, Guid? deliveryId, CancellationToken ct) =>
        CreditClient.Done(await caller.Sql.JsonAsync<Retried>("select credits.retry_dead_webhooks($1, $2)", null, ct, endpointId, deliveryId));

    private static Task<List<DeadDelivery>> Dead(
        Caller caller, CancellationToken ct, Guid? endpointId = null, DateTimeOffset? before = null, Guid? beforeId = null, int limit = 100) =>
        caller.Sql.RowsAsync(
            """
            select delivery_id, endpoint_id, user_id, event_id, type, created_at, data::text, attempts, last_error, dead_since
            from credits.get_dead_webhooks($1, $2, $3, $4)
            """,
            null,
            r => new DeadDelivery(
                r.GetGuid(0), r.GetGuid(1), r.GetGuid(2), r.GetGuid(3), r.GetString(4), r.GetFieldValue<DateTimeOffset>(5),
                r.IsDBNull(6) ? null : JsonRules.Camel(JsonNode.Parse(r.GetString(6))),
                r.GetInt32(7), r.IsDBNull(8) ? null : r.GetString(8), r.GetFieldValue<DateTimeOffset>(9)),
            ct, endpointId, before, beforeId, limit);

    /// <param name="Url">https://, or http:// on this machine.</param>
    /// <param name="Events">Types of events: purchase.completed, purchase.*, notification.*, …; null: all.</param>
    /// <param name="Description">For people.</param>
    /// <param name="IsActive">Whether events are written for it and sent.</param>
    internal sealed record CreateEndpoint(string? Url, string[]? Events = null, string? Description = null, bool? IsActive = null);

    /// <inheritdoc cref="CreateEndpoint"/>
    internal sealed record ChangeEndpoint(string? Url = null, string[]? Events = null, string? Description = null, bool? IsActive = null);

    /// <param name="OverlapHours">How long the previous secret signs as well; 0: not at all.</param>
    internal sealed record RotateSecret(int OverlapHours = 24);

    internal sealed record CreatedEndpoint(
        Guid EndpointId, string Url, string Description, string[] Events, bool IsActive, DateTimeOffset CreatedAt, string? Secret, bool Replayed);

    internal sealed record Endpoint : ChangedEndpoint
    {
        public string? Secret { get; init; }

        public bool Replayed { get; init; }
    }

    internal record ChangedEndpoint : Outcome
    {
        public Guid EndpointId { get; init; }

        public string Url { get; init; } = "";

        public string Description { get; init; } = "";

        public string[] Events { get; init; } = [];

        public bool IsActive { get; init; }

        public DateTimeOffset CreatedAt { get; init; }
    }

    internal sealed record RotatedSecret : Outcome
    {
        public Guid EndpointId { get; init; }

        public DateTimeOffset PreviousSecretUntil { get; init; }

        public string? Secret { get; init; }

        public bool Replayed { get; init; }
    }

    internal sealed record DeletedEndpoint : Outcome
    {
        public Guid EndpointId { get; init; }

        public long Undelivered { get; init; }
    }

    internal sealed record Retried : Outcome
    {
        [System.Text.Json.Serialization.JsonPropertyName("retried")]
        public int Deliveries { get; init; }
    }

    internal sealed record TestAnswer(Guid EventId, bool Delivered, int? Status, string? Error, double Milliseconds);

    internal sealed record DeadDelivery(
        Guid DeliveryId, Guid EndpointId, Guid UserId, Guid EventId, string Type, DateTimeOffset CreatedAt, JsonNode? Data, int Attempts, string? LastError,
        DateTimeOffset DeadSince);
}

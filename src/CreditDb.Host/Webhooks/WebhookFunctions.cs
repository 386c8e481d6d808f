using System.Text.Json.Nodes;

namespace CreditDb.Host.Webhooks;

/// <summary>The functions of the database behind endpoints and deliveries.</summary>
internal static class WebhookFunctions
{
    public static Task<List<ListedEndpoint>> GetWebhookEndpointsAsync(this SqlCaller sql, CancellationToken ct) => sql.RowsAsync(
        """
        select endpoint_id, url, description, events, is_active, created_at, updated_at, previous_secret_until, failures, paused_until, last_failed_at, last_error,
          pending, dead, coalesce(extract(epoch from lag), 0)::float8
        from credits.get_webhook_endpoints()
        """,
        null,
        r => new ListedEndpoint(
            r.GetGuid(0), r.GetString(1), r.GetString(2), r.GetFieldValue<string[]>(3), r.GetBoolean(4), r.GetFieldValue<DateTimeOffset>(5),
            r.GetFieldValue<DateTimeOffset>(6), r.GetFieldValue<DateTimeOffset?>(7), r.GetInt32(8), r.GetFieldValue<DateTimeOffset?>(9),
            r.GetFieldValue<DateTimeOffset?>(10), r.IsDBNull(11) ? null : r.GetString(11), r.GetInt64(12), r.GetInt64(13), r.GetDouble(14)),
        ct);

    /// <summary>Where a test goes, and what signs it; null if there is no such endpoint.</summary>
    public static async Task<(Uri? Url, string[] Secrets)?> GetWebhookTargetAsync(this SqlCaller sql, Guid endpointId, CancellationToken ct)
    {
        var found = await sql.RowsAsync(
            "select url, secrets from credits.get_webhook_target($1)", null, r => (Address(r.GetString(0)), r.GetFieldValue<string[]>(1)), ct, endpointId);
        return found.Count == 0 ? null : found[0];
    }

    public static Task<List<ClaimedDelivery>> ClaimWebhookDeliveriesAsync(this SqlCaller sql, int limit, WebhookOptions options, CancellationToken ct) => sql.RowsAsync(
        """
        select user_id, delivery_id, lease_id, endpoint_id, url, secrets, event_id, type, created_at, data::text, attempt
        from credits.claim_webhook_deliveries($1, $2, $3)
        """,
        null,
        r => new ClaimedDelivery(r.GetGuid(0), r.GetGuid(1), r.GetGuid(2), r.GetGuid(3), new WebhookMessage(
            Address(r.GetString(4)), r.GetFieldValue<string[]>(5), r.GetGuid(6), r.GetString(7), r.GetFieldValue<DateTimeOffset>(8), r.GetGuid(0),
            JsonNode.Parse(r.GetString(9)), r.GetInt32(10))),
        ct, limit, options.Lease, options.ParallelPerEndpoint);

    /// <summary>Null for what is no address at all: a delivery there fails, and nothing else does.</summary>
    private static Uri? Address(string url) => Uri.TryCreate(url, UriKind.Absolute, out var address) ? address : null;

    /// <summary>Repeated until the database hears it, as nobody but this host knows.</summary>
    public static Task<FinishedDelivery> FinishWebhookDeliveryAsync(this SqlCaller sql, ClaimedDelivery delivery, WebhookAnswer answer, CancellationToken ct) =>
        sql.JsonAsync<FinishedDelivery>(
            "select credits.finish_webhook_delivery($1, $2, $3, $4, $5, $6)", delivery.DeliveryId.ToString(), ct,
            delivery.UserId, delivery.DeliveryId, delivery.LeaseId, answer.Error is null, answer.Error, answer.RetryAfter);

    public static async Task<int> PurgeWebhookDeliveriesAsync(this SqlCaller sql, WebhookOptions options, int limit, CancellationToken ct) =>
        (int)(await sql.ScalarAsync("select credits.purge_webhook_deliveries($1, $2, $3)", null, ct,
            TimeSpan.FromDays(options.KeepDeliveredDays), TimeSpan.FromDays(options.KeepDeadDays), limit))!;
}

/// <summary>A delivery that this host alone may attempt while its lease lasts.</summary>
internal sealed record ClaimedDelivery(Guid UserId, Guid DeliveryId, Guid LeaseId, Guid EndpointId, WebhookMessage Message);

/// <summary>What became of a delivery: delivered, pending (it is attempted again) or dead.</summary>
internal sealed record FinishedDelivery : Outcome
{
    public string? Status { get; init; }

    public int Attempts { get; init; }
}

/// <summary>An endpoint as operators see it.</summary>
internal sealed record ListedEndpoint(
    Guid EndpointId, string Url, string Description, string[] Events, bool IsActive, DateTimeOffset CreatedAt, DateTimeOffset UpdatedAt,
    DateTimeOffset? PreviousSecretUntil, int Failures, DateTimeOffset? PausedUntil, DateTimeOffset? LastFailedAt, string? LastError, long Pending, long Dead,
    double LagSeconds);

using System.Text.Json;
using System.Text.Json.Nodes;
using CreditDb.Host.Api;
using Microsoft.Extensions.Options;

namespace CreditDb.Host.Payments;

/// <summary>Where Stripe reports. The signature is the credential; 200 says that the effect is committed, and whatever else makes Stripe try again.</summary>
internal static partial class StripeWebhook
{
    private const int MaxBytes = 256 * 1024;

    public static void MapStripeWebhook(this IEndpointRouteBuilder app) => app.MapPost("/api/payments/stripe/webhook", ReceiveAsync)
        .AllowAnonymous()
        // Stripe sends as fast as people pay, all from a few addresses.
        .DisableRateLimiting()
        .WithTags("Payments")
        .WithSummary("Stripe's events, signed by Stripe-Signature");

    private static async Task<IResult> ReceiveAsync(
        HttpRequest request, PaymentDesk desk, IOptions<PaymentOptions> options, TimeProvider time, ILogger<StripeProvider> logger, CancellationToken ct)
    {
        var body = await ReadAsync(request, ct);
        if (!StripeSignature.IsValid(request.Headers["Stripe-Signature"].ToString(), body, options.Value.Stripe.WebhookSecrets, time.GetUtcNow()))
        {
            Unsigned(logger, request.HttpContext.Connection.RemoteIpAddress);
            throw new ProblemException(400, "bad_signature", "The signature is none of ours, or too old.");
        }

        JsonObject? stripe;
        try
        {
            stripe = JsonNode.Parse(body) as JsonObject;
        }
        catch (JsonException)
        {
            stripe = null;
        }

        if (stripe is null)
            throw new ProblemException(400, "malformed_json", "The body is no JSON object.");
        if (StripeEvents.Read(stripe) is not { } reported)
            return Results.Ok(new { received = true });

        // Stripe hanging up changes nothing: what was begun is committed, and what it sends again finds that.
        var applied = await desk.ApplyAsync(StripeProvider.ProviderName, reported, CancellationToken.None);
        if (applied.Status == "waiting" && !applied.Replayed)
            Waits(logger, reported.EventId, reported.Kind, applied.Reason);
        return Results.Ok(new { received = true, applied.Status });
    }

    private static async Task<byte[]> ReadAsync(HttpRequest request, CancellationToken ct)
    {
        using var buffer = new MemoryStream();
        var chunk = new byte[16 * 1024];
        int read;
        while ((read = await request.Body.ReadAsync(chunk, ct)) > 0)
        {
            if (buffer.Length + read > MaxBytes)
                throw new ProblemException(413, "body_too_large", $"An event has at most {MaxBytes / 1024} KB.");
            buffer.Write(chunk, 0, read);
        }

        return buffer.ToArray();
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "A webhook call from {Address} is not signed by Stripe, or too late")]
    private static partial void Unsigned(ILogger logger, System.Net.IPAddress? address);

    [LoggerMessage(Level = LogLevel.Warning, Message = "Stripe's event {EventId} ({Kind}) waits: {Reason}")]
    private static partial void Waits(ILogger logger, string eventId, string kind, string? reason);
}

using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;

namespace CreditDb.Host.Payments;

/// <summary>
/// Reads what Stripe reports. The payment is known by its payment intent, as refunds and disputes name that and not the checkout. What a field should have
/// and has not is left out: the database keeps the event with its reason, and nothing that was paid is lost.
/// </summary>
internal static partial class StripeEvents
{
    /// <summary>The event in our words, or null if it is none that moves a purchase.</summary>
    public static PaymentEvent? Read(JsonObject stripe)
    {
        if (Text(stripe, "id") is not { } id || stripe["data"]?["object"] is not JsonObject it)
            return null;
        var read = Text(stripe, "type") switch
        {
            "checkout.session.completed" when Text(it, "payment_status") == "unpaid" => Session(id, "processing", it),
            "checkout.session.completed" or "checkout.session.async_payment_succeeded" => Session(id, "completed", it),
            "checkout.session.async_payment_failed" => Session(id, "failed", it) with { FailureReason = "The bank did not make the payment." },
            "checkout.session.expired" => Session(id, "expired", it),
            // A payment of somebody else's integration with the same Stripe account has no purchase of ours.
            "payment_intent.succeeded" when Metadata(it, "purchase_id") is not null => Intent(id, it),
            // A checkout lets its user try again; nobody is there to do so for a top-up.
            "payment_intent.payment_failed" when Metadata(it, "top_up") is not null => Intent(id, it),
            "charge.refunded" => Charge(id, it),
            "refund.failed" or "charge.refund.updated" when Text(it, "status") == "failed" => Refund(id, it),
            // An inquiry (warning_…) takes no money yet.
            "charge.dispute.created" when Text(it, "status")?.StartsWith("warning", StringComparison.Ordinal) != true => Dispute(id, "disputed", it),
            "charge.dispute.funds_withdrawn" => Dispute(id, "disputed", it),
            "charge.dispute.funds_reinstated" => Dispute(id, "dispute_won", it),
            "charge.dispute.closed" when Text(it, "status") == "won" => Dispute(id, "dispute_won", it),
            "charge.dispute.closed" when Text(it, "status") == "lost" => Dispute(id, "dispute_lost", it),
            _ => null,
        };
        return read is null ? null : read with { Payload = stripe };
    }

    /// <summary>A payment intent, from a webhook or as the answer to a request: what came of it.</summary>
    public static PaymentEvent Intent(string eventId, JsonObject intent)
    {
        var kind = Text(intent, "status") switch { "succeeded" => "completed", "processing" => "processing", _ => "failed" };
        var isSaved = Text(intent, "setup_future_usage") == "off_session";
        return Of(eventId, kind, intent) with
        {
            ProviderReference = Reference(intent["id"]),
            AmountMinor = Amount(intent, "amount_received"),
            Currency = Currency(intent),
            FailureReason = kind == "failed" ? Short(Text(intent["last_payment_error"] as JsonObject, "message")) ?? "The payment was not made." : null,
            CustomerReference = isSaved ? Reference(intent["customer"]) : null,
            PaymentMethod = isSaved ? Reference(intent["payment_method"]) : null,
        };
    }

    /// <summary>A text for people, as long as the database takes it.</summary>
    public static string? Short(string? text)
    {
        var clean = text?.Replace("\0", "", StringComparison.Ordinal);
        return string.IsNullOrWhiteSpace(clean) ? null : clean.Length <= 255 ? clean : clean[..255];
    }

    public static string? Text(JsonObject? of, string name) => of?[name] is JsonValue value && value.TryGetValue(out string? text) ? text : null;

    private static PaymentEvent Session(string id, string kind, JsonObject session) => Of(id, kind, session) with
    {
        ProviderReference = Reference(session["payment_intent"]),
        AmountMinor = Amount(session, "amount_total"),
        Currency = Currency(session),
    };

    private static PaymentEvent Charge(string id, JsonObject charge) => Of(id, "refunded", charge) with
    {
        ProviderReference = Reference(charge["payment_intent"]) ?? Reference(charge["id"]),
        AmountMinor = Amount(charge, "amount_refunded"),
        Currency = Currency(charge),
    };

    private static PaymentEvent Refund(string id, JsonObject refund) => Of(id, "refund_failed", refund) with
    {
        ProviderReference = Reference(refund["payment_intent"]) ?? Reference(refund["charge"]),
        AmountMinor = Amount(refund, "amount"),
        Currency = Currency(refund),
        RefundReference = Reference(refund["id"]),
    };

    private static PaymentEvent Dispute(string id, string kind, JsonObject dispute) => Of(id, kind, dispute) with
    {
        ProviderReference = Reference(dispute["payment_intent"]) ?? Reference(dispute["charge"]),
        AmountMinor = Amount(dispute, "amount"),
        Currency = Currency(dispute),
        RefundReference = Reference(dispute["id"]),
    };

    private static PaymentEvent Of(string id, string kind, JsonObject it) => new(id.Length > 255 ? id[..255] : id, kind)
    {
        UserId = Guid.TryParse(Metadata(it, "user_id"), out var user) ? user : null,
        PurchaseId = Guid.TryParse(Metadata(it, "purchase_id"), out var purchase) ? purchase : null,
    };

    private static string? Metadata(JsonObject it, string name) => Text(it["metadata"] as JsonObject, name);

    /// <summary>An id, which stands alone or in the object itself where that was asked for.</summary>
    private static string? Reference(JsonNode? node)
    {
        var text = node is JsonObject whole ? Text(whole, "id") : node is JsonValue value && value.TryGetValue(out string? id) ? id : null;
        return text is not null && Id().IsMatch(text) ? text : null;
    }

    private static long? Amount(JsonObject it, string name) =>
        it[name] is JsonValue value && value.GetValueKind() == JsonValueKind.Number && value.TryGetValue(out long amount) && amount >= 0 ? amount : null;

    private static string? Currency(JsonObject it) => Text(it, "currency") is { Length: 3 } code && code.All(char.IsAsciiLetter) ? code.ToUpperInvariant() : null;

    [GeneratedRegex(@"\A[\x21-\x7e]{1,200}\z")]
    private static partial Regex Id();
}

using System.Text.Json.Nodes;

namespace CreditDb.Tests.Payments;

/// <summary>Events in the shape of Stripe's API reference.</summary>
internal static class StripePayloads
{
    public static JsonObject Session(string type, Guid? user, Guid? purchase, string? intent, long amount = 500, string paymentStatus = "paid", string currency = "usd") =>
        Event(type, new JsonObject
        {
            ["id"] = "cs_test_a1",
            ["object"] = "checkout.session",
            ["amount_subtotal"] = amount,
            ["amount_total"] = amount,
            ["client_reference_id"] = purchase?.ToString(),
            ["currency"] = currency,
            ["customer"] = "cus_1",
            ["customer_details"] = new JsonObject { ["email"] = "ada@example.com" },
            ["livemode"] = false,
            ["metadata"] = Metadata(user, purchase),
            ["mode"] = "payment",
            ["payment_intent"] = intent,
            ["payment_status"] = paymentStatus,
            ["status"] = type.EndsWith("expired", StringComparison.Ordinal) ? "expired" : "complete",
        });

    public static JsonObject Intent(string type, Guid? user, Guid? purchase, string intent, string status = "succeeded", bool isSaved = false, bool isTopUp = false, string? error = null)
    {
        var metadata = Metadata(user, purchase);
        if (isTopUp)
            metadata["top_up"] = "true";
        return Event(type, new JsonObject
        {
            ["id"] = intent,
            ["object"] = "payment_intent",
            ["amount"] = 500,
            ["amount_received"] = status == "succeeded" ? 500 : 0,
            ["currency"] = "usd",
            ["customer"] = "cus_1",
            ["last_payment_error"] = error is null ? null : new JsonObject { ["code"] = "card_declined", ["message"] = error },
            ["metadata"] = metadata,
            ["payment_method"] = "pm_1",
            ["setup_future_usage"] = isSaved ? "off_session" : null,
            ["status"] = status,
        });
    }

    public static JsonObject Refunded(string intent, long amountRefunded, Guid? user = null, Guid? purchase = null) => Event("charge.refunded", new JsonObject
    {
        ["id"] = "ch_1",
        ["object"] = "charge",
        ["amount"] = 500,
        ["amount_captured"] = 500,
        ["amount_refunded"] = amountRefunded,
        ["currency"] = "usd",
        ["metadata"] = Metadata(user, purchase),
        ["paid"] = true,
        ["payment_intent"] = intent,
        ["refunded"] = amountRefunded == 500,
    });

    public static JsonObject Dispute(string type, string intent, string status, long amount = 500) => Event(type, new JsonObject
    {
        ["id"] = "dp_" + intent,
        ["object"] = "dispute",
        ["amount"] = amount,
        ["charge"] = "ch_1",
        ["currency"] = "usd",
        ["metadata"] = new JsonObject(),
        ["payment_intent"] = intent,
        ["reason"] = "fraudulent",
        ["status"] = status,
    });

    public static JsonObject Refund(string intent) => Event("refund.failed", new JsonObject
    {
        ["id"] = "re_1",
        ["object"] = "refund",
        ["amount"] = 100,
        ["charge"] = "ch_1",
        ["currency"] = "usd",
        ["failure_reason"] = "expired_or_canceled_card",
        ["payment_intent"] = intent,
        ["status"] = "failed",
    });

    public static JsonObject Event(string type, JsonObject it) => (JsonObject)JsonNode.Parse(new JsonObject
    {
        ["id"] = $"evt_{Guid.NewGuid():N}",
        ["object"] = "event",
        ["api_version"] = "2024-06-20",
        ["created"] = 1_700_000_000,
        ["data"] = new JsonObject { ["object"] = it },
        ["livemode"] = false,
        ["pending_webhooks"] = 1,
        ["type"] = type,
    }.ToJsonString())!;

    private static JsonObject Metadata(Guid? user, Guid? purchase)
    {
        var metadata = new JsonObject();
        if (user is not null)
            metadata["user_id"] = user.ToString();
        if (purchase is not null)
            metadata["purchase_id"] = purchase.ToString();
        return metadata;
    }
}

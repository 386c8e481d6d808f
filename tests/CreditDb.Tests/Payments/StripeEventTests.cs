using System.Text.Json.Nodes;
using CreditDb.Host.Payments;

namespace CreditDb.Tests.Payments;

/// <summary>What is read out of Stripe's events.</summary>
public sealed class StripeEventTests
{
    [Theory]
    [InlineData("completed", "checkout.session.completed", null)]
    [InlineData("processing", "checkout.session.completed", "unpaid")]
    [InlineData("failed", "checkout.session.async_payment_failed", "unpaid")]
    [InlineData("expired", "checkout.session.expired", "unpaid")]
    public void A_session_is_read(string kind, string type, string? status)
    {
        var (user, purchase) = (Guid.NewGuid(), Guid.NewGuid());
        var read = StripeEvents.Read(StripePayloads.Session(type, user, purchase, "pi_1", 700, status ?? "paid", "eur"))!;
        Assert.Equal((kind, user, purchase, "pi_1", 700L, "EUR"), (read.Kind, read.UserId, read.PurchaseId, read.ProviderReference, read.AmountMinor, read.Currency));
        Assert.Null(read.PaymentMethod);
    }

    [Theory]
    [InlineData("charge.dispute.created", "needs_response", "disputed")]
    [InlineData("charge.dispute.created", "warning_needs_response", null)]
    [InlineData("charge.dispute.funds_withdrawn", "under_review", "disputed")]
    [InlineData("charge.dispute.funds_reinstated", "won", "dispute_won")]
    [InlineData("charge.dispute.closed", "won", "dispute_won")]
    [InlineData("charge.dispute.closed", "lost", "dispute_lost")]
    [InlineData("charge.dispute.closed", "warning_closed", null)]
    [InlineData("charge.dispute.updated", "under_review", null)]
    public void A_dispute_is_read(string type, string status, string? kind)
    {
        var read = StripeEvents.Read(StripePayloads.Dispute(type, "pi_1", status, 300));
        Assert.Equal((kind, kind is null ? null : "pi_1 dp_pi_1 300 USD"), (read?.Kind, read is null ? null : $"{read.ProviderReference} {read.RefundReference} {read.AmountMinor} {read.Currency}"));
    }

    [Fact]
    public void Refunds_and_intents_are_read_and_what_is_not_ours_is_not()
    {
        var (user, purchase) = (Guid.NewGuid(), Guid.NewGuid());
        Assert.Equal(("refunded", "pi_1", 120L), StripeEvents.Read(StripePayloads.Refunded("pi_1", 120)) is { } r ? (r.Kind, r.ProviderReference, r.AmountMinor) : default);
        Assert.Equal("refund_failed", StripeEvents.Read(StripePayloads.Refund("pi_1"))!.Kind);
        var saved = StripeEvents.Read(StripePayloads.Intent("payment_intent.succeeded", user, purchase, "pi_1", isSaved: true))!;
        Assert.Equal(("completed", "cus_1", "pm_1", 500L), (saved.Kind, saved.CustomerReference, saved.PaymentMethod, saved.AmountMinor));
        Assert.Null(StripeEvents.Read(StripePayloads.Intent("payment_intent.succeeded", user, null, "pi_1")));
        Assert.Null(StripeEvents.Read(StripePayloads.Intent("payment_intent.payment_failed", user, purchase, "pi_1", "requires_payment_method")));
        var failed = StripeEvents.Read(StripePayloads.Intent("payment_intent.payment_failed", user, purchase, "pi_1", "requires_payment_method", isTopUp: true, error: "No money."))!;
        Assert.Equal(("failed", "No money."), (failed.Kind, failed.FailureReason));
        Assert.Null(StripeEvents.Read(StripePayloads.Event("invoice.paid", [])));
        // Expanded, odd and hostile values lose no event.
        var odd = StripePayloads.Session("checkout.session.completed", null, null, null);
        var it = (JsonObject)odd["data"]!["object"]!;
        it["payment_intent"] = new JsonObject { ["id"] = "pi_whole" };
        it["metadata"] = new JsonObject { ["user_id"] = "not a uuid", ["purchase_id"] = 7 };
        (it["amount_total"], it["currency"]) = ("500", "u\0d");
        Assert.Equal(("completed", "pi_whole", null, null, null), StripeEvents.Read(odd) is { } o ? (o.Kind, o.ProviderReference, o.UserId, o.AmountMinor, o.Currency) : default);
    }
}

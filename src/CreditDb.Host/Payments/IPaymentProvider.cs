using System.Text.Json.Nodes;

namespace CreditDb.Host.Payments;

/// <summary>Who takes the money. Whatever it reports, at once or by a webhook, is a <see cref="PaymentEvent"/>; what that does is the database's business.</summary>
internal interface IPaymentProvider
{
    /// <summary>The name by which purchases know it.</summary>
    public string Name { get; }

    /// <summary>A page on which the purchase can be paid: the same one each time it is asked for.</summary>
    public Task<Checkout> OpenCheckoutAsync(Guid userId, ListedPurchase purchase, Uri host, CancellationToken ct);

    /// <summary>Charges the saved payment method, once per purchase however often it is asked.</summary>
    public Task<PaymentEvent> ChargeAsync(DueTopUp due, CancellationToken ct);

    /// <summary>Gives back what was paid, or a part of it, once per key. What takes the credits is done when it returns, or follows by a webhook.</summary>
    public Task<string> RefundAsync(Guid userId, ListedPurchase purchase, long? amountMinor, string key, CancellationToken ct);
}

/// <summary>A page on which a purchase is paid.</summary>
internal sealed record Checkout(string Reference, Uri Url);

/// <summary>A purchase of automatic top-up that is to be charged now.</summary>
internal sealed record DueTopUp(
    Guid UserId, Guid PurchaseId, string PackageName, long PriceMinor, string Currency, string CustomerReference, string PaymentMethod);

/// <summary>What a provider reports, in the words of credits.apply_payment_event().</summary>
internal sealed record PaymentEvent(string EventId, string Kind)
{
    public Guid? UserId { get; init; }

    public Guid? PurchaseId { get; init; }

    public string? ProviderReference { get; init; }

    public long? AmountMinor { get; init; }

    public string? Currency { get; init; }

    public string? RefundReference { get; init; }

    public string? FailureReason { get; init; }

    public string? CustomerReference { get; init; }

    public string? PaymentMethod { get; init; }

    public JsonObject Payload { get; init; } = [];
}

/// <summary>The provider could not be reached, or refuses. Nothing was decided unless it says so.</summary>
internal sealed class PaymentProviderException(string message, bool isRefusal = false, Exception? inner = null) : Exception(message, inner)
{
    /// <summary>It answered, and asking again will not help.</summary>
    public bool IsRefusal => isRefusal;
}

using System.Buffers.Text;
using System.Security.Cryptography;
using System.Text;

namespace CreditDb.Host.Payments;

/// <summary>Takes no money: a page of this host says pay or cancel. For trying things out, and for tests of applications.</summary>
internal sealed class SandboxProvider(CreditClient credits) : IPaymentProvider
{
    public const string ProviderName = "sandbox";

    public string Name => ProviderName;

    public Task<Checkout> OpenCheckoutAsync(Guid userId, ListedPurchase purchase, Uri host, CancellationToken ct)
    {
        // Whose it is, and what nobody guesses.
        var token = Base64Url.EncodeToString([.. userId.ToByteArray(), .. purchase.PurchaseId.ToByteArray(), .. RandomNumberGenerator.GetBytes(16)]);
        return Task.FromResult(new Checkout(token, new Uri(host, "/sandbox/pay/" + token)));
    }

    public Task<PaymentEvent> ChargeAsync(DueTopUp due, CancellationToken ct) => Task.FromResult(Paid(due.UserId, due.PurchaseId, due.PriceMinor, due.Currency));

    /// <summary>Nobody else keeps its refunds, so the database's own books say what is left to refund, and what the key was used for.</summary>
    public async Task<string> RefundAsync(Guid userId, ListedPurchase purchase, long? amountMinor, string key, CancellationToken ct)
    {
        var reference = $"sandbox_refund {purchase.PurchaseId} {key}";
        try
        {
            await credits.RefundPurchaseAsync(userId, purchase.PurchaseId, amountMinor, "refunded", reference, ct: ct);
        }
        catch (CreditException e) when (e.Code == "already_settled")
        {
            throw new PaymentProviderException("That is more than can still be refunded of this payment.", isRefusal: true, e);
        }

        return reference;
    }

    /// <summary>What the button Pay says.</summary>
    public static PaymentEvent Paid(Guid userId, ListedPurchase purchase)
    {
        var paid = Paid(userId, purchase.PurchaseId, purchase.PriceMinor, purchase.Currency);
        return purchase.Metadata["save_payment_method"] is null ? paid : paid with { CustomerReference = "sandbox_customer", PaymentMethod = "sandbox_card" };
    }

    /// <summary>What the button Cancel says.</summary>
    public static PaymentEvent Cancelled(Guid userId, ListedPurchase purchase) => new($"{purchase.PurchaseId} cancelled", "failed")
    {
        UserId = userId,
        PurchaseId = purchase.PurchaseId,
        FailureReason = "cancelled",
    };

    /// <summary>The user and the purchase of a page's token.</summary>
    public static bool TryRead(string token, out Guid userId, out Guid purchaseId)
    {
        (userId, purchaseId) = (default, default);
        Span<byte> bytes = stackalloc byte[48];
        if (token.Length != 64 || !Base64Url.IsValid(token) || !Base64Url.TryDecodeFromChars(token, bytes, out var length) || length != 48)
            return false;
        (userId, purchaseId) = (new Guid(bytes[..16]), new Guid(bytes[16..32]));
        return true;
    }

    public static bool IsOf(string token, ListedPurchase purchase) => purchase.Provider == ProviderName
        && purchase.CheckoutReference is { } kept && CryptographicOperations.FixedTimeEquals(Encoding.UTF8.GetBytes(kept), Encoding.UTF8.GetBytes(token));

    private static PaymentEvent Paid(Guid userId, Guid purchaseId, long amountMinor, string currency) => new($"{purchaseId} paid", "completed")
    {
        UserId = userId,
        PurchaseId = purchaseId,
        ProviderReference = $"sandbox_{purchaseId:N}",
        AmountMinor = amountMinor,
        Currency = currency,
    };
}

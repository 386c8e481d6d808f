using System.Text.Json.Nodes;

namespace CreditDb;

public sealed partial class CreditClient
{
    /// <summary>Begins the purchase of a package; nothing is granted until it is completed.</summary>
    public async Task<Purchase> CreatePurchaseAsync(
        Guid userId, string packageId, string provider, JsonObject? metadata = null, string? idempotencyKey = null, CancellationToken ct = default) =>
        Done(await _sql.JsonAsync<Purchase>("select credits.create_purchase($1, $2, $3, $4, $5)", idempotencyKey, ct,
            userId, packageId, provider, metadata ?? [], idempotencyKey));

    /// <summary>Grants the credits of a purchase, once per payment. What was paid, where given, must be its price.</summary>
    public async Task<Purchase> CompletePurchaseAsync(
        Guid userId, Guid purchaseId, string providerReference, long? paidMinor = null, string? currency = null, CancellationToken ct = default) =>
        Done(await _sql.JsonAsync<Purchase>("select credits.complete_purchase($1, $2, $3, $4, $5)", providerReference, ct,
            userId, purchaseId, providerReference, paidMinor, currency));

    /// <summary>Records that the payment failed, and why.</summary>
    public async Task<Purchase> FailPurchaseAsync(Guid userId, Guid purchaseId, string reason, CancellationToken ct = default) =>
        Done(await _sql.JsonAsync<Purchase>("select credits.fail_purchase($1, $2, $3)", purchaseId.ToString(), ct, userId, purchaseId, reason));

    /// <summary>Takes back credits in proportion to what is refunded of the price (null: all that is left); what was spent is owed by the next purchase. With the provider's id of the refund, once.</summary>
    public async Task<PurchaseRefund> RefundPurchaseAsync(
        Guid userId, Guid purchaseId, long? amountMinor = null, string? reason = null, string? providerReference = null, bool isDispute = false,
        CancellationToken ct = default) =>
        Done(await _sql.JsonAsync<PurchaseRefund>("select credits.refund_purchase($1, $2, $3, $4, $5, $6)", providerReference, ct,
            userId, purchaseId, amountMinor, reason, providerReference, isDispute));

    /// <summary>A won dispute: gives back what it took, once.</summary>
    public async Task<PurchaseRefund> ReinstatePurchaseAsync(
        Guid userId, Guid purchaseId, string providerReference, string? reason = null, CancellationToken ct = default) =>
        Done(await _sql.JsonAsync<PurchaseRefund>("select credits.reinstate_purchase($1, $2, $3, $4)", providerReference, ct,
            userId, purchaseId, providerReference, reason));

    /// <summary>Adds a package to what can be bought, or changes one; what is null stays. The price is in minor units of an ISO 4217 currency.</summary>
    public async Task<Package> SetPackageAsync(
        string packageId, decimal? credits = null, long? priceMinor = null, string? currency = null, string? packageName = null,
        IEnumerable<string>? features = null, bool? isActive = null, int? sortOrder = null, CancellationToken ct = default) =>
        Done(await _sql.JsonAsync<Package>("select credits.set_package($1, $2, $3, $4, $5, $6, $7, $8)", null, ct,
            packageId, credits, priceMinor, currency, packageName,
            features is null ? null : new JsonArray([.. features.Select(f => JsonValue.Create(f))]), isActive, sortOrder));
}

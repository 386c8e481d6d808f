using System.Text.Json;
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

    /// <summary>A dispute that was won, or a refund that failed at the provider: gives back what it took, once.</summary>
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

    /// <summary>A user's purchases, the newest first, or one of them: at most limit; the last one read leads to the next page.</summary>
    public Task<List<ListedPurchase>> ListPurchasesAsync(
        Guid userId, int limit = 50, ListedPurchase? after = null, Guid? purchaseId = null, CancellationToken ct = default) => _sql.RowsAsync(
        "select to_jsonb(p) from credits.list_purchases($1, $2, $3, $4, $5) p", null,
        row => JsonSerializer.Deserialize<ListedPurchase>(row.GetString(0), SqlCaller.Json)!, ct,
        userId, limit, after?.CreatedAt, after?.PurchaseId, purchaseId);

    /// <summary>The automatic top-up of an account, as the payment provider of that name can do it.</summary>
    public async Task<TopUp> GetTopUpAsync(Guid userId, string provider, CancellationToken ct = default) =>
        Done(await _sql.JsonAsync<TopUp>("select credits.get_top_up($1, $2)", null, ct, userId, provider));

    /// <summary>
    /// Switches the automatic top-up of an account on or off: the package is bought as soon as no more than threshold credits are left, for at most
    /// monthlyCapMinor minor units a month. What is null stays; the first time all are needed. What had stopped it is forgotten.
    /// </summary>
    public async Task<TopUp> SetTopUpAsync(
        Guid userId, string provider, bool isOn, decimal? threshold = null, string? packageId = null, long? monthlyCapMinor = null, CancellationToken ct = default) =>
        Done(await _sql.JsonAsync<TopUp>("select credits.set_top_up($1, $2, $3, $4, $5, $6)", null, ct,
            userId, provider, isOn, threshold, packageId, monthlyCapMinor));
}

using System.Text.Json;
using System.Text.Json.Nodes;
using CreditDb.Host.Api;
using Npgsql;

namespace CreditDb.Host.Payments;

/// <summary>Between the provider and the database: what one says is one call of a function of the other.</summary>
internal sealed class PaymentDesk(SqlCaller sql, CreditClient credits, IEnumerable<IPaymentProvider> providers)
{
    /// <summary>The provider, or the answer that nothing can be bought here.</summary>
    public IPaymentProvider Provider { get; } = providers.SingleOrDefault() ?? new NoProvider();

    /// <summary>Done, and committed, when it returns.</summary>
    public async Task<AppliedEvent> ApplyAsync(string provider, PaymentEvent e, CancellationToken ct)
    {
        Task<AppliedEvent> Call(JsonObject payload) => sql.As(provider).JsonAsync<AppliedEvent>(
            "select credits.apply_payment_event($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)", e.EventId, ct,
            provider, e.EventId, e.Kind, e.UserId, e.PurchaseId, e.ProviderReference, e.AmountMinor, e.Currency, e.RefundReference, e.FailureReason,
            e.CustomerReference, e.PaymentMethod, payload);
        try
        {
            return CreditClient.Done(await Call(e.Payload));
        }
        catch (PostgresException refused) when (refused.SqlState.StartsWith("22", StringComparison.Ordinal))
        {
            // JSON that PostgreSQL cannot store (a NUL in a text) is no reason to lose a payment.
            return CreditClient.Done(await Call(new JsonObject { ["unstorable"] = refused.SqlState }));
        }
    }

    /// <summary>Begins a purchase and opens the page on which it is paid; the same key leads to the same ones.</summary>
    public async Task<ListedPurchase> BuyAsync(CreditClient caller, Guid userId, string packageId, bool savePaymentMethod, string key, Uri host, CancellationToken ct)
    {
        var created = await caller.CreatePurchaseAsync(
            userId, packageId, Provider.Name, savePaymentMethod ? new JsonObject { ["save_payment_method"] = true } : [], key, ct);
        var purchase = await FindAsync(userId, created.PurchaseId, ct);
        if (purchase.Status != "pending" || purchase.CheckoutUrl is not null)
            return purchase;
        var checkout = await AskedAsync(() => Provider.OpenCheckoutAsync(userId, purchase, host, ct));
        await sql.JsonAsync<Purchase>("select credits.keep_checkout($1, $2, $3, $4)", key, ct, userId, purchase.PurchaseId, checkout.Reference, checkout.Url.AbsoluteUri);
        return await FindAsync(userId, purchase.PurchaseId, ct);
    }

    public async Task<ListedPurchase> FindAsync(Guid userId, Guid purchaseId, CancellationToken ct) =>
        (await credits.ListPurchasesAsync(userId, 1, null, purchaseId, ct)).SingleOrDefault()
        ?? throw new ProblemException(404, "not_found", "The user has no such purchase.", "purchaseId");

    /// <summary>Gives money back. The credits follow when the provider reports it.</summary>
    public async Task<string> RefundAsync(Guid userId, Guid purchaseId, long? amountMinor, string key, CancellationToken ct)
    {
        var purchase = await FindAsync(userId, purchaseId, ct);
        if (purchase.Provider != Provider.Name)
            throw new ProblemException(409, "other_provider", $"The purchase was paid by {purchase.Provider}, which is not the provider of this host.");
        if (purchase.ProviderReference is null)
            throw new ProblemException(409, "purchase_not_paid", "Only a paid purchase can be refunded.");
        return await AskedAsync(() => Provider.RefundAsync(userId, purchase, amountMinor, key, ct));
    }

    public Task<List<DueTopUp>> BeginTopUpsAsync(int limit, CancellationToken ct) => sql.RowsAsync(
        "select user_id, purchase_id, package_name, price_minor, currency, customer_reference, payment_method from credits.begin_top_ups($1, $2)", null,
        r => new DueTopUp(r.GetGuid(0), r.GetGuid(1), r.GetString(2), r.GetInt64(3), r.GetString(4), r.GetString(5), r.GetString(6)),
        ct, Provider.Name, limit);

    public Task<List<ListedPaymentEvent>> ListEventsAsync(bool isWaiting, int limit, DateTimeOffset? afterAt, Guid? afterId, CancellationToken ct) => sql.RowsAsync(
        "select to_jsonb(e) from credits.list_payment_events($1, $2, $3, $4) e", null,
        r => JsonSerializer.Deserialize<ListedPaymentEvent>(r.GetString(0), SqlCaller.Json)!, ct, isWaiting, limit, afterAt, afterId);

    private static async Task<T> AskedAsync<T>(Func<Task<T>> ask)
    {
        try
        {
            return await ask();
        }
        catch (PaymentProviderException e)
        {
            throw e.IsRefusal ? new ProblemException(409, "payment_refused", e.Message) : new ProblemException(502, "payment_provider_failed", e.Message);
        }
    }

    private sealed class NoProvider : IPaymentProvider
    {
        public string Name => throw Nothing();

        public Task<Checkout> OpenCheckoutAsync(Guid userId, ListedPurchase purchase, Uri host, CancellationToken ct) => throw Nothing();

        public Task<PaymentEvent> ChargeAsync(DueTopUp due, CancellationToken ct) => throw Nothing();

        public Task<string> RefundAsync(Guid userId, ListedPurchase purchase, long? amountMinor, string key, CancellationToken ct) => throw Nothing();

        private static ProblemException Nothing() => new(409, "payments_off", "Nothing can be bought here: Payments:Provider is not set.");
    }
}

/// <summary>What became of an event.</summary>
internal sealed record AppliedEvent : Outcome
{
    public Guid PaymentEventId { get; init; }

    public string Kind { get; init; } = "";

    public string Status { get; init; } = "";

    public string? Reason { get; init; }

    public Guid? UserId { get; init; }

    public Guid? PurchaseId { get; init; }

    public bool Replayed { get; init; }
}

/// <summary>An event as operators see it.</summary>
internal sealed record ListedPaymentEvent(
    Guid PaymentEventId, string Provider, string EventId, string Kind, string Status, string? Reason, Guid? UserId, Guid? PurchaseId,
    string? ProviderReference, long? AmountMinor, string? Currency, string? RefundReference, DateTimeOffset ReceivedAt, DateTimeOffset? ProcessedAt, JsonObject Payload);

namespace CreditDb.Tests.Model;

public sealed record Package(decimal Credits, long PriceMinor, string Currency);

public sealed record PurchaseRefund(int No, string? Reference, bool IsDispute, long Minor, decimal Credits, List<Part> Revoked, decimal Owing, long LogId, decimal BalanceAfter)
{
    /// <summary>The dispute was won.</summary>
    public bool IsReinstated { get; init; }
}

public sealed record Purchase(DatabaseId Id, string PackageId, Package Package, string Provider)
{
    public string Status { get; set; } = "pending";

    public string? Reference { get; set; }

    public string? FailureReason { get; set; }

    /// <summary>0 before it is paid.</summary>
    public long GrantNo { get; set; }

    public decimal BalanceAfter { get; set; }

    public long RefundedMinor { get; set; }

    public decimal RefundedCredits { get; set; }

    public List<PurchaseRefund> Refunds { get; private init; } = [];

    /// <summary>The grant that it brought, and those that brought back what a dispute had taken.</summary>
    public List<long> Grants { get; private init; } = [];

    public Purchase Copy() => this with { Refunds = [.. Refunds], Grants = [.. Grants] };
}

/// <summary>Purchases: pending, paid or failed, refunded, disputed and reinstated.</summary>
public sealed partial class CreditModel
{
    private Purchase? FindPurchase(Guid id) => Purchases.FirstOrDefault(p => p.Id.Id == id);

    private static (string Name, object? Value)[] Fields(Purchase purchase) =>
    [
        ("purchase_id", purchase.Id.Id),
        ("package_id", purchase.PackageId),
        ("status", purchase.Status),
        ("credits", purchase.Package.Credits),
        ("price_minor", purchase.Package.PriceMinor),
        ("currency", purchase.Package.Currency),
        ("provider", purchase.Provider),
        ("provider_reference", purchase.Reference),
        ("refunded_minor", purchase.RefundedMinor),
        ("refunded_credits", purchase.RefundedCredits),
    ];

    public Outcome CreatePurchase(string packageId, string provider, string? key)
    {
        var now = Now(Credits);
        return Keyed(Credits, key, $"purchase {packageId} {provider}", now, () =>
        {
            if (Status != "active")
                return Outcome.Declined("account_suspended");
            if (!packages.TryGetValue(packageId, out var package))
                return Outcome.Declined("not_found");
            Settle(Credits, now);
            var purchase = new Purchase(new DatabaseId(), packageId, package, provider);
            Purchases.Add(purchase);
            var fields = Outcome.Ok([.. Fields(purchase), ("replayed", false)]).Fields;
            fields.Remove("purchase_id");
            return new Outcome
            {
                Fields = fields,
                Learn = result => fields["purchase_id"] = purchase.Id.Id = result.GetProperty("purchase_id").GetGuid(),
            };
        });
    }

    public Outcome CompletePurchase(Guid id, string reference, long? paidMinor, string? currency)
    {
        if (FindPurchase(id) is not { } purchase)
            return Outcome.Declined("not_found");
        if ((paidMinor ?? purchase.Package.PriceMinor, currency ?? purchase.Package.Currency) != (purchase.Package.PriceMinor, purchase.Package.Currency))
            return Outcome.Error("UC331");
        var isReplay = purchase.GrantNo != 0;
        if (isReplay && purchase.Reference != reference)
            return Outcome.Error("UC332");
        if (!isReplay)
        {
            if (Purchases.Any(p => p.Provider == purchase.Provider && p.Reference == reference))
                return Outcome.Error("UC333");
            var now = Now(Credits);
            Settle(Credits, now);
            Credits.AddGrant(now, purchase.Package.Credits, "purchased");
            (purchase.Status, purchase.Reference, purchase.GrantNo, purchase.BalanceAfter) = ("paid", reference, Credits.EntryNo, Credits.Balance);
            purchase.Grants.Add(Credits.EntryNo);
            PayOwed(Credits, now);
        }
        return Outcome.Ok([.. Fields(purchase), ("balance_after", purchase.BalanceAfter), ("log_id", purchase.GrantNo), ("replayed", isReplay)]);
    }

    /// <summary>A failed one stays failed, for the first reason, until its payment arrives after all.</summary>
    public Outcome FailPurchase(Guid id, string reason)
    {
        if (FindPurchase(id) is not { } purchase)
            return Outcome.Declined("not_found");
        if (purchase.GrantNo != 0)
            return Outcome.Error("UC330");
        var isReplay = purchase.Status == "failed";
        if (!isReplay)
        {
            Settle(Credits, Now(Credits));
            (purchase.Status, purchase.FailureReason) = ("failed", reason);
        }
        return Outcome.Ok([.. Fields(purchase), ("failure_reason", purchase.FailureReason), ("replayed", isReplay)]);
    }

    /// <summary>
    /// Takes back the credits in proportion to the price, all refunds together exactly those of the purchase. What its grants no longer have becomes debt.
    /// </summary>
    public Outcome RefundPurchase(Guid id, long? minor, string? reference, bool isDispute)
    {
        if (FindPurchase(id) is not { } purchase)
            return Outcome.Declined("not_found");
        // Without its reference a dispute could not be told to be won.
        if (isDispute && reference is null)
            return Outcome.Error("UC001");
        foreach (var other in Purchases.Where(p => p.Provider == purchase.Provider))
        {
            if (other.Refunds.FirstOrDefault(r => r.Reference is not null && r.Reference == reference) is not { } known)
                continue;
            var isSame = other == purchase && known.IsDispute == isDispute && known.Minor == (minor ?? known.Minor);
            return isSame ? Booked(purchase, known, true) : Outcome.Error("UC334");
        }
        if (purchase.GrantNo == 0)
            return Outcome.Error("UC330");
        var refundable = purchase.Package.PriceMinor - purchase.RefundedMinor;
        var amount = minor ?? refundable;
        if (amount == 0 || amount > refundable)
            return Outcome.Declined("already_settled", ("refundable_minor", refundable));

        var now = Now(Credits);
        Settle(Credits, now);
        var share = Math.Round(purchase.Package.Credits * (purchase.RefundedMinor + amount) / purchase.Package.PriceMinor, 6, MidpointRounding.AwayFromZero);
        // After a dispute that was won less than the share of a smaller refund may be left: then it takes nothing.
        var taken = Math.Max(share - purchase.RefundedCredits, 0);
        var owing = taken;
        var revoked = new List<Part>();
        foreach (var grant in purchase.Grants.Order().Select(Credits.Find))
        {
            var part = Math.Min(owing, grant.Remaining);
            grant.Remaining -= part;
            owing -= part;
            if (part > 0)
                revoked.Add(new Part(grant.No, part));
        }
        if (owing < taken)
            Credits.AddEntry(now);
        if (owing > 0)
        {
            Credits.Debt += owing;
            Credits.PurchaseDebt += owing;
            Credits.AddEntry(now);
        }
        purchase.RefundedMinor += amount;
        purchase.RefundedCredits += taken;
        purchase.Status = amount == refundable ? "refunded" : "paid";
        var refund = new PurchaseRefund(purchase.Refunds.Count + 1, reference, isDispute, amount, taken, revoked, owing, Credits.EntryNo, Credits.Balance);
        purchase.Refunds.Add(refund);
        return Booked(purchase, refund, false);
    }

    private static Outcome Booked(Purchase purchase, PurchaseRefund refund, bool isReplay) => Outcome.Ok([.. Fields(purchase),
        ("refund_no", refund.No), ("amount_minor", refund.Minor), ("is_dispute", refund.IsDispute), ("credits_taken", refund.Credits),
        ("revoked", refund.Credits - refund.Owing), ("owing", refund.Owing), ("refundable_minor", purchase.Package.PriceMinor - purchase.RefundedMinor),
        ("balance_after", refund.BalanceAfter), ("log_id", refund.LogId), ("reinstated", refund.IsReinstated), ("replayed", isReplay)]);

    /// <summary>A won dispute gives back what it took: to the grants, to what is still owed for purchases, and the rest as a grant of the purchase.</summary>
    public Outcome ReinstatePurchase(Guid id, string reference)
    {
        if (FindPurchase(id) is not { } purchase || purchase.Refunds.FindIndex(r => r.Reference == reference) is not (>= 0 and var at))
            return Outcome.Declined("not_found");
        var dispute = purchase.Refunds[at];
        if (!dispute.IsDispute)
            return Outcome.Error("UC335");
        if (dispute.IsReinstated)
            return Booked(purchase, dispute, true);

        var now = Now(Credits);
        Settle(Credits, now);
        foreach (var part in dispute.Revoked)
            Credits.Find(part.Grant).Remaining += part.Amount;
        var paidSince = dispute.Owing - Credits.PayPurchaseDebt(dispute.Owing);
        if (paidSince < dispute.Credits)
            Credits.AddEntry(now);
        if (paidSince > 0)
        {
            Credits.AddGrant(now, paidSince, "purchased");
            purchase.Grants.Add(Credits.EntryNo);
        }
        purchase.RefundedMinor -= dispute.Minor;
        purchase.RefundedCredits -= dispute.Credits;
        purchase.Status = "paid";
        dispute = purchase.Refunds[at] = dispute with { IsReinstated = true, LogId = Credits.EntryNo, BalanceAfter = Credits.Balance };
        PayOwed(Credits, now);
        return Booked(purchase, dispute, false);
    }
}

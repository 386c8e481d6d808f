namespace CreditDb.Tests.Model;

/// <summary>What a payment provider reports, again at times or for the wrong purchase.</summary>
public sealed partial class Operations
{
    private Operation CreatePurchase(CreditModel model)
    {
        var package = Chance(0.03) ? "no_such_package" : Pick(World.Packages.Keys);
        var (provider, key) = (Provider(), Key(0.3));
        return Keyed(key, new Operation($"select credits.create_purchase({model.UserId.Sql()}, '{package}', '{provider}', '{{}}', {key.Sql()})",
            m => m.CreatePurchase(package, provider, key)));
    }

    private Operation? CompletePurchase(CreditModel model) => OfPurchase(model, p => p.GrantNo == 0, purchase =>
    {
        var reference = purchase.Reference is { } known && Chance(0.7) ? known : Reference(model);
        long? paid = Chance(0.5) ? null : Chance(0.1) ? purchase.Package.PriceMinor + 1 : purchase.Package.PriceMinor;
        var currency = Chance(0.5) ? null : purchase.Package.Currency;
        return new($"select credits.complete_purchase({model.UserId.Sql()}, {purchase.Id.Id.Sql()}, '{reference}', {paid.Sql()}, {currency.Sql()})",
            m => m.CompletePurchase(purchase.Id.Id, reference, paid, currency));
    });

    private Operation? FailPurchase(CreditModel model) => OfPurchase(model, p => p.GrantNo == 0, purchase =>
    {
        var reason = Pick(["card declined", "too late"]);
        return new($"select credits.fail_purchase({model.UserId.Sql()}, {purchase.Id.Id.Sql()}, '{reason}')", m => m.FailPurchase(purchase.Id.Id, reason));
    });

    private Operation? RefundPurchase(CreditModel model) => OfPurchase(model, p => p.Status == "paid", purchase =>
    {
        var isRepeated = Chance(0.2);
        var known = isRepeated && purchase.Refunds.Count > 0 ? Pick(purchase.Refunds) : null;
        long? amount = Chance(0.3) ? null : known is not null && Chance(0.8) ? known.Minor : _random.NextInt64(1, purchase.Package.PriceMinor + 1);
        var reference = known is not null ? known.Reference : Chance(0.2) ? null : Reference(model);
        var isDispute = known is not null && Chance(0.9) ? known.IsDispute : Chance(0.5);
        return new($"select credits.refund_purchase({model.UserId.Sql()}, {purchase.Id.Id.Sql()}, {amount.Sql()}, 'unhappy', {reference.Sql()}, {isDispute.Sql()})",
            m => m.RefundPurchase(purchase.Id.Id, amount, reference, isDispute));
    });

    private Operation? ReinstatePurchase(CreditModel model) => OfPurchase(model, p => p.Refunds.Any(r => r is { IsDispute: true, IsReinstated: false }), purchase =>
    {
        var disputes = purchase.Refunds.Where(r => r is { IsDispute: true, Reference: not null }).ToList();
        var reference = disputes.Count > 0 && Chance(0.9) ? Pick(disputes).Reference! : Reference(model);
        return new($"select credits.reinstate_purchase({model.UserId.Sql()}, {purchase.Id.Id.Sql()}, '{reference}', 'won')",
            m => m.ReinstatePurchase(purchase.Id.Id, reference));
    });

    /// <summary>Mostly with a purchase that suits it, so that most of them say more than that it does not.</summary>
    private Operation? OfPurchase(CreditModel model, Func<Purchase, bool> suits, Func<Purchase, Operation> make)
    {
        var suitable = model.Purchases.Where(suits).ToList();
        return suitable.Count > 0 && Chance(0.85) ? make(Pick(suitable)) : model.Purchases.Count > 0 && Chance(0.4) ? make(Pick(model.Purchases)) : null;
    }

    private string Provider() => Chance(0.8) ? "stripe" : "paddle";

    private string Reference(CreditModel model) => $"payment {_random.Next(1, 40)} of {model.UserId}";
}

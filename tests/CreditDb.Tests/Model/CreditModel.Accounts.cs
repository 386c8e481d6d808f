namespace CreditDb.Tests.Model;

/// <summary>The life of an account: suspended, closed, its personal data erased.</summary>
public sealed partial class CreditModel
{
    /// <summary>active, suspended or closed.</summary>
    public string Status { get; private set; } = "active";

    public Outcome ChangeStatus(string status)
    {
        if (Status == "closed" && status != "closed")
            return Outcome.Error("UC340");
        var previous = Status;
        var released = 0;
        var now = Wallets.Values.Select(Now).Max();
        var wallets = previous == status ? [] : Wallets.Values.ToList();
        wallets.ForEach(w => Settle(w, now));
        foreach (var wallet in status == "closed" ? wallets : [])
        {
            foreach (var hold in wallet.Held.OrderBy(h => h.EntryNo).ToList())
            {
                Release(wallet, hold, now, "released");
                wallet.ExpireReturned(now, hold.Parts);
                released++;
            }
            wallet.NextReset = null;
        }
        // Who leaves still pays what the holds brought, and who may spend again pays at once.
        PayOwed(Credits, now);
        Status = status;
        PayOwed(Credits, now);
        (string Name, object? Value)[] fields = [("status", status), ("previous_status", previous), ("changed", previous != status)];
        return Outcome.Ok(status == "closed" ? [.. fields, ("holds_released", released)] : fields);
    }

    /// <summary>No number changes. Who repeats a request from before is refused instead of charged again.</summary>
    public Outcome Erase()
    {
        var now = Wallets.Values.Select(Now).Max();
        foreach (var wallet in Wallets.Values)
        {
            Settle(wallet, now);
            foreach (var key in wallet.Keys.Keys.ToList())
                wallet.Keys[key] = wallet.Keys[key] with { IsErased = true };
        }
        foreach (var purchase in Purchases)
            purchase.FailureReason = null;
        return Outcome.Ok();
    }
}

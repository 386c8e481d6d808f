namespace CreditDb.Tests.Model;

/// <summary>Operations that are reported after the fact, and balances taken over from before the engine.</summary>
public sealed partial class CreditModel
{
    /// <summary>Failed operations that were reported with a key, and what they were.</summary>
    public Dictionary<string, string> Attempts { get; private init; } = [];

    /// <summary>What importing the balance returned; it is done once.</summary>
    public Outcome? Imported { get; private set; }

    /// <summary>Entries of the old history, each listed once.</summary>
    public HashSet<int> History { get; private init; } = [];

    public Outcome Track(string action, bool success, string? key)
    {
        if (success)
            return Deduct(action, 1, key, null);
        if (!prices.TryGetValue(action, out var price))
            return Outcome.Declined("unknown_action");
        Settle(Wallets[price.CreditType], Now(Wallets[price.CreditType]));
        var isReplay = key is not null && !Attempts.TryAdd(key, action);
        return isReplay && Attempts[key!] != action ? Outcome.Error("UC201") : Outcome.Ok(("credits_deducted", 0), ("recorded", "attempt"), ("replayed", isReplay));
    }

    /// <summary>Brings what is left of monthly credits to what it was before, and grants what had been purchased.</summary>
    public Outcome ImportBalance(decimal? monthly, decimal? purchased)
    {
        if (Imported is not null)
            return Imported.Replayed();
        var now = Now(Credits);
        Settle(Credits, now);
        var before = Credits.Balance;
        var missing = (monthly ?? 0) - Credits.Grants.Where(g => g.Source == "monthly").Sum(g => g.Remaining);
        if (missing < 0)
        {
            Credits.TakeLast(-missing, "monthly");
            Credits.AddEntry(now);
        }
        if (missing > 0)
            Credits.AddGrant(now, missing, "monthly", expires: Credits.NextReset, period: Credits.AllowancePeriod);
        if (purchased > 0)
            Credits.AddGrant(now, purchased.Value, "purchased");
        PayOwed(Credits, now);
        return Imported = Outcome.Ok(("monthly", monthly ?? 0), ("purchased", purchased ?? 0), ("monthly_granted", Math.Max(missing, 0)),
            ("monthly_revoked", Math.Max(-missing, 0)), ("balance_before", before), ("balance_after", Credits.Balance), ("replayed", false));
    }

    public Outcome ImportHistory(int id)
    {
        var isNew = History.Add(id);
        if (isNew)
            Settle(Credits, Now(Credits));
        return Outcome.Ok(("imported", isNew ? 1 : 0), ("known", isNew ? 0 : 1));
    }
}

using System.Text.Json;

namespace CreditDb.Tests.Model;

/// <summary>What an operation should come to: an error, or fields of its outcome (those named; others are not compared).</summary>
public sealed class Outcome(params (string Name, object? Value)[] fields)
{
    public Dictionary<string, object?> Fields { get; init; } = fields.ToDictionary(f => f.Name, f => f.Value);

    public string? SqlState { get; init; }

    /// <summary>Takes over what only the database can know, such as a new id.</summary>
    public Action<JsonElement>? Learn { get; init; }

    public object? Code => Fields.GetValueOrDefault("code");

    public static Outcome Ok(params (string Name, object? Value)[] fields) => new([("code", "ok"), ("success", true), .. fields]);

    public static Outcome Declined(string code, params (string Name, object? Value)[] fields) => new([("code", code), ("success", false), .. fields]);

    public static Outcome Error(string sqlState) => new() { SqlState = sqlState };

    public Outcome Replayed() => new() { Fields = new Dictionary<string, object?>(Fields) { ["replayed"] = true } };
}

public sealed record Price(string CreditType, decimal Cost, string OnInsufficient = "notify");

public sealed record Allowance(decimal Amount, string Period);

public sealed record Terms(bool IsUnlimited = false, decimal? Cost = null, decimal? Limit = null, string? LimitPeriod = null);

public sealed record Plan(string Id, decimal DebtLimit, Dictionary<string, Allowance> Allowances, Dictionary<string, Terms> Features, int FreeChatSeconds = 0);

/// <summary>A part of an amount and the grant it came from; 0 for debt.</summary>
public sealed record Part(long Grant, decimal Amount);

public sealed record Grant(long No, string Source, decimal Amount, int Priority, int? Period)
{
    public decimal Remaining { get; set; }

    public DateTime? Expires { get; set; }

    public List<(DateTime At, decimal Amount)> Expired { get; init; } = [];

    public Grant Copy() => this with { Expired = [.. Expired] };
}

/// <summary>What the database makes up when it begins something; shared by the copies of the model.</summary>
public sealed class DatabaseId
{
    public Guid Id { get; set; }
}

public sealed record Hold(DatabaseId Reservation, string Action, decimal UnitPrice, decimal Quantity, decimal Amount, List<Part> Parts, string? LimitPeriod,
    int LimitPeriodNo, long EntryNo)
{
    public DateTime Expires { get; set; }

    public string Status { get; set; } = "held";

    public Outcome? Result { get; set; }

    public decimal CommittedQuantity { get; set; }
}

public sealed record Charge(long EntryNo, string Action, decimal Amount, List<Part> Parts)
{
    public decimal Refunded { get; set; }
}

public sealed record StoredKey(string Request, Outcome Result, DateTime Expires, bool IsErased = false);

public sealed record Row(string Id, decimal Quantity, int? Seconds = null);

public sealed record UnchargedRow(string Source, Row Row, string Action, decimal UnitPrice, DateTime CreatedAt, int Ordinal);

/// <summary>One user's credits of one type: grants, what is held of them, and debt. The balance is what is left of the grants minus the debt.</summary>
public sealed class Wallet(string creditType)
{
    public string CreditType { get; } = creditType;

    public List<Grant> Grants { get; private init; } = [];

    public List<Hold> Holds { get; private init; } = [];

    public List<Charge> Charges { get; private init; } = [];

    public Dictionary<string, StoredKey> Keys { get; private init; } = [];

    public decimal Debt { get; set; }

    /// <summary>The part of the debt that refunded purchases left: only purchased credits pay it.</summary>
    public decimal PurchaseDebt { get; set; }

    public long EntryNo { get; private set; }

    /// <summary>Or when the wallet was opened.</summary>
    public DateTime LastEntryAt { get; set; }

    public int? AllowancePeriod { get; set; }

    /// <summary>Whether the reset of the period that runs was rolled back.</summary>
    public bool IsRolledBack { get; set; }

    /// <summary>Whether the last reset began the period that runs. Not after one that brought nothing, as the plan had no allowance then.</summary>
    public bool IsResetRunning { get; set; }

    public DateTime? LastReset { get; set; }

    /// <summary>The grant that the last reset brought.</summary>
    public long LastResetGrant { get; set; }

    public DateTime? NextReset { get; set; }

    public decimal Spendable => Grants.Sum(g => g.Remaining);

    public decimal Balance => Spendable - Debt;

    public IEnumerable<Hold> Held => Holds.Where(h => h.Status == "held");

    /// <summary>The first moment at which a hold lapses, a grant with credits expires or the allowance renews.</summary>
    public DateTime? NextDue => Held.Select(h => (DateTime?)h.Expires)
        .Concat(Grants.Where(g => g.Remaining > 0).Select(g => g.Expires))
        .Append(NextReset)
        .Min();

    public Wallet Copy() => new(CreditType)
    {
        Grants = [.. Grants.Select(g => g.Copy())],
        Holds = [.. Holds.Select(h => h with { })],
        Charges = [.. Charges.Select(c => c with { })],
        Keys = new(Keys),
        Debt = Debt,
        PurchaseDebt = PurchaseDebt,
        EntryNo = EntryNo,
        LastEntryAt = LastEntryAt,
        AllowancePeriod = AllowancePeriod,
        IsRolledBack = IsRolledBack,
        IsResetRunning = IsResetRunning,
        LastReset = LastReset,
        LastResetGrant = LastResetGrant,
        NextReset = NextReset,
    };

    public void AddEntry(DateTime at)
    {
        EntryNo++;
        LastEntryAt = at > LastEntryAt ? at : LastEntryAt;
    }

    /// <summary>A new grant pays what is owed first, a purchased one also what refunded purchases left.</summary>
    public void AddGrant(DateTime at, decimal amount, string source, int? priority = null, DateTime? expires = null, int? period = null)
    {
        var paid = Pay(amount);
        if (source == "purchased")
            paid += PayPurchaseDebt(amount - paid);
        AddEntry(at);
        var usual = source switch { "monthly" => 10, "trial" or "promotional" => 20, _ => 50 };
        Grants.Add(new Grant(EntryNo, source, amount, priority ?? usual, period) { Remaining = amount - paid, Expires = expires });
    }

    private decimal Pay(decimal amount)
    {
        var paid = Math.Min(Debt - PurchaseDebt, amount);
        Debt -= paid;
        return paid;
    }

    public decimal PayPurchaseDebt(decimal amount)
    {
        var paid = Math.Min(PurchaseDebt, amount);
        PurchaseDebt -= paid;
        Debt -= paid;
        return paid;
    }

    /// <summary>Takes an amount in the spending order; what the grants do not cover becomes debt.</summary>
    public List<Part> Draw(decimal amount)
    {
        var parts = Take(amount, InOrder);
        var debt = amount - parts.Sum(p => p.Amount);
        if (debt > 0)
        {
            Debt += debt;
            parts.Add(new Part(0, debt));
        }
        return parts;
    }

    /// <summary>Takes an amount from grants of a source, those first that would be spent last.</summary>
    public void TakeLast(decimal amount, string source) => Take(amount, InOrder.Reverse().Where(g => g.Source == source));

    private IEnumerable<Grant> InOrder => Grants.Where(g => g.Remaining > 0).OrderBy(g => g.Priority).ThenBy(g => g.Expires ?? DateTime.MaxValue).ThenBy(g => g.No);

    private static List<Part> Take(decimal amount, IEnumerable<Grant> grants)
    {
        var parts = new List<Part>();
        foreach (var grant in grants.ToList())
        {
            var taken = Math.Min(amount, grant.Remaining);
            if (taken == 0)
                break;
            grant.Remaining -= taken;
            amount -= taken;
            parts.Add(new Part(grant.No, taken));
        }
        return parts;
    }

    /// <summary>
    /// Gives parts back to their grants, and to debt that is still there. Returns the rest, for which there is no place any more. Purchased credits
    /// that come back pay what refunded purchases left.
    /// </summary>
    public decimal GiveBack(IEnumerable<Part> parts)
    {
        var rest = 0m;
        foreach (var part in parts)
        {
            if (part.Grant != 0)
            {
                var grant = Find(part.Grant);
                grant.Remaining += part.Amount - (grant.Source == "purchased" ? PayPurchaseDebt(part.Amount) : 0);
                continue;
            }
            rest += part.Amount - Pay(part.Amount);
        }
        return rest;
    }

    /// <summary>What came back to a grant that has expired expires.</summary>
    public void ExpireReturned(DateTime now, IEnumerable<Part> parts)
    {
        foreach (var grant in parts.Where(p => p.Grant != 0).Select(p => p.Grant).Distinct().Select(Find)
            .Where(g => g.Remaining > 0 && g.Expires <= now).OrderBy(g => g.Expires).ThenBy(g => g.No).ToList())
            Expire(grant, now);
    }

    public void Expire(Grant grant, DateTime at)
    {
        AddEntry(at);
        grant.Expired.Add((at, grant.Remaining));
        grant.Remaining = 0;
    }

    public Grant Find(long no) => Grants.First(g => g.No == no);
}

/// <summary>
/// One user's account as the contract describes it, in C#, without a look at how the database does it: what each operation returns and what is left.
/// This file holds the account, time, charges, rows, grants, holds and plans; what else there is has files of its own.
/// </summary>
public sealed partial class CreditModel(Guid userId, Dictionary<string, Price> prices, Dictionary<string, Plan> plans,
    Dictionary<string, Package> packages, Plan plan, TimeZoneInfo zone)
{
    public Guid UserId { get; } = userId;

    public Plan Plan { get; private set; } = plan;

    public DateTime Clock { get; set; }

    public DateTime Anchor { get; private set; }

    public long TotalMinutes { get; private set; }

    public SortedDictionary<string, Wallet> Wallets { get; private init; } = new(StringComparer.Ordinal);

    public Dictionary<(string Action, string Period, int No), decimal> Counters { get; private init; } = [];

    public List<UnchargedRow> Uncharged { get; private init; } = [];

    /// <summary>Rows that were charged, and by which outcome.</summary>
    public Dictionary<(string Source, string Id), Outcome> ChargedRows { get; private init; } = [];

    /// <summary>The rows of public.calls.</summary>
    public Dictionary<Guid, (string Status, int? Seconds)> Calls { get; private init; } = [];

    public List<Session> Sessions { get; private init; } = [];

    public List<Purchase> Purchases { get; private init; } = [];

    public Wallet Credits => Wallets["credits"];

    public CreditModel Copy()
    {
        var copy = new CreditModel(UserId, prices, plans, packages, Plan, zone)
        {
            Clock = Clock,
            Status = Status,
            Anchor = Anchor,
            TotalMinutes = TotalMinutes,
            Counters = new(Counters),
            Uncharged = [.. Uncharged],
            ChargedRows = new(ChargedRows),
            Calls = new(Calls),
            Attempts = new(Attempts),
            Imported = Imported,
            History = [.. History],
            Sessions = [.. Sessions.Select(s => s with { })],
            Purchases = [.. Purchases.Select(p => p.Copy())],
        };
        foreach (var wallet in Wallets.Values)
            copy.Wallets[wallet.CreditType] = wallet.Copy();
        return copy;
    }

    public Outcome Open()
    {
        Anchor = Clock;
        foreach (var type in prices.Values.Select(p => p.CreditType).Concat(Plan.Allowances.Keys).Distinct())
        {
            var wallet = Wallets[type] = new Wallet(type) { LastEntryAt = Clock };
            switch (Plan.Allowances.GetValueOrDefault(type))
            {
                case { Period: "once" } once:
                    wallet.AddGrant(Clock, once.Amount, "trial", period: -1);
                    break;
                case { } allowance:
                    wallet.NextReset = PeriodStart(allowance.Period, 1);
                    Renew(wallet, Clock, allowance.Amount, 0);
                    break;
            }
        }
        return Outcome.Ok(("plan_id", Plan.Id), ("opened", true));
    }

    // Time

    /// <summary>Time never runs backwards for a wallet.</summary>
    public DateTime Now(Wallet wallet) => Clock > wallet.LastEntryAt ? Clock : wallet.LastEntryAt;

    /// <summary>Always counted from the anchor, on the wall clock of the zone. A wall time that is skipped counts by the offset before, one that comes twice is the second.</summary>
    public DateTime PeriodStart(string period, int number)
    {
        var anchor = Anchor + zone.GetUtcOffset(Anchor);
        var local = DateTime.SpecifyKind(period == "day" ? anchor.AddDays(number) : anchor.AddMonths(number), DateTimeKind.Unspecified);
        var before = zone.GetUtcOffset(DateTime.SpecifyKind(local, DateTimeKind.Utc).AddHours(-26));
        var offset = zone.IsInvalidTime(local) ? before
            : zone.IsAmbiguousTime(local) ? zone.GetAmbiguousTimeOffsets(local).Min()
            : zone.GetUtcOffset(local);
        return DateTime.SpecifyKind(local - offset, DateTimeKind.Utc);
    }

    public int PeriodNumber(string period, DateTime at)
    {
        var number = (int)Math.Floor((at - Anchor).TotalDays / (period == "day" ? 1 : 30.5)) - 1;
        while (PeriodStart(period, number) > at)
            number--;
        while (PeriodStart(period, number + 1) <= at)
            number++;
        return number;
    }

    /// <summary>
    /// What has fallen due, in the order of time; at one moment holds lapse, then grants expire, then the allowance of the running period comes,
    /// and no missed one. What chat sessions owe is paid after each moment.
    /// </summary>
    public void Settle(Wallet wallet, DateTime now)
    {
        var resetAt = DateTime.MaxValue;
        var allowance = Plan.Allowances.GetValueOrDefault(wallet.CreditType);
        var period = 0;
        if (wallet.NextReset <= now)
        {
            period = allowance is null or { Period: "once" } ? 0 : PeriodNumber(allowance.Period, now);
            resetAt = allowance is null or { Period: "once" } ? now : PeriodStart(allowance.Period, period);
        }
        var time = DateTime.MinValue;
        while (true)
        {
            var lapsing = wallet.Held.Where(h => h.Expires <= now).OrderBy(h => h.Expires).ThenBy(h => h.EntryNo).FirstOrDefault();
            var expiring = wallet.Grants.Where(g => g.Remaining > 0 && g.Expires <= now).OrderBy(g => Later(g.Expires!.Value, time)).ThenBy(g => g.No).FirstOrDefault();
            var lapseAt = lapsing?.Expires ?? DateTime.MaxValue;
            var expireAt = expiring is null ? DateTime.MaxValue : Later(expiring.Expires!.Value, time);
            var next = new[] { lapseAt, expireAt, resetAt }.Min();
            if (next > time && time > DateTime.MinValue)
            {
                var owed = Sessions.Sum(s => s.Owed);
                PayOwed(wallet, time);
                if (Sessions.Sum(s => s.Owed) < owed)
                    continue;
            }
            time = next;
            if (time == DateTime.MaxValue)
                return;
            if (time == lapseAt)
            {
                Release(wallet, lapsing!, time, "lapsed");
            }
            else if (time == expireAt)
            {
                wallet.Expire(expiring!, time);
            }
            else
            {
                wallet.IsRolledBack = wallet.IsResetRunning = false;
                wallet.NextReset = allowance is null or { Period: "once" } ? null : PeriodStart(allowance.Period, period + 1);
                if (wallet.NextReset is not null && period > (wallet.AllowancePeriod ?? -1))
                    Renew(wallet, resetAt, allowance!.Amount, period);
                resetAt = DateTime.MaxValue;
            }
        }

        static DateTime Later(DateTime a, DateTime b) => a > b ? a : b;
    }

    private static void Renew(Wallet wallet, DateTime at, decimal amount, int period)
    {
        wallet.AllowancePeriod = period;
        wallet.LastReset = at;
        wallet.AddGrant(at, amount, "monthly", expires: wallet.NextReset, period: period);
        wallet.LastResetGrant = wallet.EntryNo;
        wallet.IsResetRunning = true;
    }

    /// <summary>The worker: it changes nothing that anybody sees.</summary>
    public Outcome SettleDue()
    {
        foreach (var wallet in Wallets.Values.Where(w => w.NextDue <= Clock))
            Settle(wallet, Now(wallet));
        return new Outcome();
    }

    /// <summary>What get_credit_balance should say: the state after what is due, without applying it.</summary>
    public Outcome Balance(string creditType)
    {
        var copy = Copy();
        var wallet = copy.Wallets[creditType];
        copy.Settle(wallet, Now(wallet));
        decimal Left(Func<string, bool> isIt) => wallet.Grants.Where(g => isIt(g.Source)).Sum(g => g.Remaining);
        return Outcome.Ok(
            ("total", wallet.Spendable),
            ("monthly", Left(s => s == "monthly")),
            ("purchased", Left(s => s == "purchased")),
            ("other", Left(s => s is not ("monthly" or "purchased"))),
            ("held", wallet.Held.Sum(h => h.Amount)),
            ("debt", wallet.Debt),
            ("owed", creditType == "credits" ? copy.Sessions.Sum(s => s.Owed) : 0),
            ("last_monthly_reset", wallet.LastReset),
            ("next_monthly_reset", wallet.NextReset),
            ("entry_no", wallet.EntryNo));
    }

    // Charges

    private sealed record Quote(string Action, decimal UnitPrice, decimal? Limit, string? Period, int PeriodNo, decimal Used);

    private Quote QuoteFor(string action, DateTime now)
    {
        var price = prices[action];
        var terms = Plan.Features.GetValueOrDefault(action) ?? new Terms();
        var number = terms.LimitPeriod is null ? 0 : PeriodNumber(terms.LimitPeriod, now);
        var used = terms.LimitPeriod is null ? 0 : Counters.GetValueOrDefault((action, terms.LimitPeriod, number));
        return new Quote(action, terms.IsUnlimited ? 0 : terms.Cost ?? price.Cost, terms.Limit, terms.LimitPeriod, number, used);
    }

    private void Count(string action, string? period, int number, decimal quantity)
    {
        if (period is not null)
            Counters[(action, period, number)] = Counters.GetValueOrDefault((action, period, number)) + quantity;
    }

    /// <summary>Rounded once, half away from zero; what has a price is never free.</summary>
    public static decimal Cost(decimal unitPrice, decimal quantity)
    {
        var amount = Math.Round(unitPrice * quantity, 6, MidpointRounding.AwayFromZero);
        return amount == 0 && unitPrice > 0 ? 0.000001m : amount;
    }

    private static Outcome Keyed(Wallet wallet, string? key, string request, DateTime now, Func<Outcome> act)
    {
        var stored = key is null ? null : wallet.Keys.GetValueOrDefault(key);
        var isKnown = stored?.Expires > now;
        if (isKnown && !stored!.IsErased)
            return stored.Request == request ? stored.Result.Replayed() : Outcome.Error("UC201");
        var outcome = act();
        if (isKnown && outcome.Code is "ok")
            return Outcome.Error("UC202");
        // A decline is not remembered.
        if (key is not null && outcome.Code is "ok")
            wallet.Keys[key] = new StoredKey(request, outcome, now.AddDays(30));
        return outcome;
    }

    private Outcome? Decline(Wallet wallet, Quote quote, decimal quantity, decimal amount) =>
        (Status != "active" ? "account_suspended" : quote.Used + quantity > quote.Limit ? "limit_reached" : wallet.Spendable < amount ? "insufficient_credits" : null) is { } code
            ? Outcome.Declined(code, ("action_type", quote.Action), ("required", amount), ("available", wallet.Spendable))
            : null;

    private Outcome Book(Wallet wallet, DateTime now, Quote quote, decimal quantity, decimal amount)
    {
        var before = wallet.Balance;
        var available = wallet.Spendable;
        var parts = wallet.Draw(amount);
        wallet.AddEntry(now);
        wallet.Charges.Add(new Charge(wallet.EntryNo, quote.Action, amount, parts));
        Count(quote.Action, quote.Period, quote.PeriodNo, quantity);
        return Outcome.Ok(("action_type", quote.Action), ("required", amount), ("available", available), ("credits_deducted", amount),
            ("balance_before", before), ("balance_after", wallet.Balance), ("log_id", wallet.EntryNo), ("replayed", false));
    }

    public Outcome Deduct(string action, decimal quantity, string? key, Guid? reference)
    {
        var wallet = Wallets[prices.TryGetValue(action, out var price) ? price.CreditType : "credits"];
        var now = Now(wallet);
        return Keyed(wallet, key, $"deduct {action} {quantity:G29} {reference}", now, () =>
        {
            Settle(wallet, now);
            if (price is null)
                return Outcome.Declined("unknown_action");
            var quote = QuoteFor(action, now);
            var amount = Cost(quote.UnitPrice, quantity);
            return Decline(wallet, quote, quantity, amount) ?? Book(wallet, now, quote, quantity, amount);
        });
    }

    /// <summary>A chat message, and how many are left; null for unlimited.</summary>
    public Outcome DeductChatMessage(string? key)
    {
        var outcome = Deduct("chat_message", 1, key, null);
        if (outcome.SqlState is not null)
            return outcome;
        var result = new Outcome { Fields = new(outcome.Fields) };
        result.Fields["remaining"] = outcome.Code is "ok"
            ? outcome.Fields["required"] is 0m ? null : outcome.Fields["balance_after"]
            : outcome.Fields["available"];
        return result;
    }

    public Outcome DeductCall(Guid call, int seconds)
    {
        var now = Now(Credits);
        if (ChargedRows.TryGetValue(("public.calls", call.ToString()), out var first))
        {
            return Outcome.Ok([("replayed", true),
                .. new[] { "action_type", "required", "credits_deducted", "balance_before", "balance_after", "log_id" }.Select(f => (f, first.Fields[f]))]);
        }
        Settle(Credits, now);
        var quote = QuoteFor("agent_call_runtime", now);
        var minutes = (seconds + 59) / 60;
        var amount = Cost(quote.UnitPrice, minutes);
        if (Decline(Credits, quote, minutes, amount) is { } declined)
            return declined;
        TotalMinutes += minutes;
        Uncharged.RemoveAll(u => u.Source == "public.calls" && u.Row.Id == call.ToString());
        return ChargedRows[("public.calls", call.ToString())] = Book(Credits, now, quote, minutes, amount);
    }

    // Rows

    /// <summary>Rows that one statement wrote, decided in their order. Those that cannot be paid fail it (reject), run into debt, or are listed.</summary>
    public Outcome WriteRows(string action, string source, IReadOnlyList<Row> rows)
    {
        var wallet = Wallets[prices[action].CreditType];
        var now = Now(wallet);
        Settle(wallet, now);
        foreach (var (ordinal, row) in rows.Index())
        {
            if (ChargedRows.ContainsKey((source, row.Id)) || Uncharged.Any(u => u.Source == source && u.Row.Id == row.Id))
                continue;
            if (ChargeRow(wallet, now, QuoteFor(action, now), source, row, prices[action].OnInsufficient) is not { } declined)
                continue;
            if (prices[action].OnInsufficient == "reject")
                return Outcome.Error(declined.Code switch { "insufficient_credits" => "UC101", "limit_reached" => "UC102", _ => "UC104" });
            Uncharged.Add(new UnchargedRow(source, row, action, QuoteFor(action, now).UnitPrice, now, ordinal + 1));
        }
        return new Outcome();
    }

    private Outcome? ChargeRow(Wallet wallet, DateTime now, Quote quote, string source, Row row, string onInsufficient)
    {
        var amount = Cost(quote.UnitPrice, row.Quantity);
        var declined = Decline(wallet, quote, row.Quantity, amount);
        if (declined?.Code is "insufficient_credits" && onInsufficient == "debt" && wallet.Debt + amount - wallet.Spendable <= Plan.DebtLimit)
            declined = null;
        if (declined is not null)
            return declined;
        ChargedRows[(source, row.Id)] = Book(wallet, now, quote, row.Quantity, amount);
        TotalMinutes += row.Seconds is null ? 0 : (long)row.Quantity;
        return null;
    }

    /// <summary>A call is charged by the first writing that makes it completed with seconds.</summary>
    public Outcome WriteCall(Guid call, string status, int? seconds)
    {
        var wasDone = Calls.TryGetValue(call, out var old) && old is { Status: "completed", Seconds: > 0 };
        Calls[call] = (status, seconds);
        return status == "completed" && seconds > 0 && !wasDone
            ? WriteRows("agent_call_runtime", "public.calls", [new Row(call.ToString(), (seconds.Value + 59) / 60, seconds)])
            : new Outcome();
    }

    /// <summary>Listed rows, as far as the credits reach, at the price they were written at: kind by kind and price by price, each in its order.</summary>
    public Outcome ChargeUncharged()
    {
        var listed = Uncharged.Count;
        var deducted = new Dictionary<string, decimal>();
        foreach (var listedRow in Uncharged.OrderBy(u => u.CreatedAt).ThenBy(u => u.Ordinal).ThenBy(u => u.Source, StringComparer.Ordinal)
            .ThenBy(u => u.Row.Id, StringComparer.Ordinal).ToList())
        {
            var wallet = Wallets[prices[listedRow.Action].CreditType];
            var now = Now(wallet);
            Settle(wallet, now);
            var quote = QuoteFor(listedRow.Action, now) with { UnitPrice = listedRow.UnitPrice };
            if (ChargeRow(wallet, now, quote, listedRow.Source, listedRow.Row, "notify") is not null)
                continue;
            Uncharged.Remove(listedRow);
            if (Cost(quote.UnitPrice, listedRow.Row.Quantity) is > 0 and var amount)
                deducted[wallet.CreditType] = deducted.GetValueOrDefault(wallet.CreditType) + amount;
        }
        return Outcome.Ok(("rows_charged", listed - Uncharged.Count), ("rows_left", Uncharged.Count), ("deducted", deducted));
    }

    // Grants and corrections

    public Outcome GrantCredits(string creditType, decimal amount, string source, DateTime? expires, int? priority, string? reference, string? key)
    {
        if (source == "purchased" && expires is not null)
            return Outcome.Error("UC001");
        var wallet = Wallets[creditType];
        var now = Now(wallet);
        return Keyed(wallet, key, $"grant {amount:G29} {source} {expires:O} {priority} {reference}", now, () =>
        {
            if (expires <= now)
                return Outcome.Error("UC001");
            Settle(wallet, now);
            var before = wallet.Balance;
            wallet.AddGrant(now, amount, source, priority, source == "monthly" ? expires ?? wallet.NextReset : expires);
            var entry = wallet.EntryNo;
            PayOwed(wallet, now);
            return Outcome.Ok(("credit_type", creditType), ("source", source), ("amount", amount), ("balance_before", before), ("balance_after", wallet.Balance),
                ("log_id", entry), ("replayed", false));
        });
    }

    public Outcome Adjust(string creditType, decimal amount, string reason, string? key)
    {
        if (amount > 0)
            return GrantCredits(creditType, amount, "adjustment", null, null, reason, key);
        var wallet = Wallets[creditType];
        var now = Now(wallet);
        return Keyed(wallet, key, $"adjust {amount:G29} {reason}", now, () =>
        {
            Settle(wallet, now);
            var before = wallet.Balance;
            if (wallet.Spendable < -amount)
                return Outcome.Declined("insufficient_credits", ("required", -amount), ("available", wallet.Spendable));
            wallet.Draw(-amount);
            wallet.AddEntry(now);
            return Outcome.Ok(("source", "adjustment"), ("amount", amount), ("balance_before", before), ("balance_after", wallet.Balance),
                ("log_id", wallet.EntryNo), ("replayed", false));
        });
    }

    /// <summary>What was drawn last goes back first, to where it came from; what was overdrawn and has been paid since becomes a grant.</summary>
    public Outcome Refund(string creditType, long logId, decimal? amount, string? key)
    {
        var wallet = Wallets[creditType];
        var now = Now(wallet);
        return Keyed(wallet, key, $"refund {logId} {amount:G29}", now, () =>
        {
            if (wallet.Charges.FirstOrDefault(c => c.EntryNo == logId) is not { } charge)
                return Outcome.Declined("not_found", ("log_id", logId));
            var refundable = charge.Amount - charge.Refunded;
            var refund = amount ?? refundable;
            if (refund == 0 || refund > refundable)
                return Outcome.Declined("already_settled", ("refundable", refundable));

            Settle(wallet, now);
            var parts = new List<Part>();
            var (skip, take) = (charge.Refunded, refund);
            foreach (var part in Enumerable.Reverse(charge.Parts))
            {
                var skipped = Math.Min(skip, part.Amount);
                var taken = Math.Min(take, part.Amount - skipped);
                (skip, take) = (skip - skipped, take - taken);
                if (taken > 0)
                    parts.Add(part with { Amount = taken });
            }
            var rest = wallet.GiveBack(parts);
            var entry = 0L;
            if (rest < refund)
            {
                wallet.AddEntry(now);
                entry = wallet.EntryNo;
                wallet.ExpireReturned(now, parts);
            }
            if (rest > 0)
            {
                wallet.AddGrant(now, rest, "refund");
                entry = wallet.EntryNo;
            }
            charge.Refunded += refund;
            PayOwed(wallet, now);
            return Outcome.Ok(("log_id", logId), ("action_type", charge.Action), ("credits_refunded", refund), ("refundable", refundable - refund),
                ("balance_after", wallet.Balance), ("refund_log_id", entry), ("replayed", false));
        });
    }

    // Holds

    public Outcome Reserve(string action, decimal quantity, TimeSpan ttl, string? key)
    {
        var wallet = Wallets[prices[action].CreditType];
        var now = Now(wallet);
        return Keyed(wallet, key, $"reserve {action} {quantity:G29} {ttl}", now, () =>
        {
            Settle(wallet, now);
            var quote = QuoteFor(action, now);
            var amount = Cost(quote.UnitPrice, quantity);
            if (Decline(wallet, quote, quantity, amount) is { } declined)
                return declined;
            var before = wallet.Balance;
            var parts = wallet.Draw(amount);
            wallet.AddEntry(now);
            Count(action, quote.Period, quote.PeriodNo, quantity);
            var id = new DatabaseId();
            wallet.Holds.Add(new Hold(id, action, quote.UnitPrice, quantity, amount, parts, quote.Period, quote.PeriodNo, wallet.EntryNo) { Expires = now + ttl });
            var fields = Outcome.Ok(("action_type", action), ("quantity", quantity), ("credits_held", amount), ("expires_at", now + ttl),
                ("balance_before", before), ("balance_after", wallet.Balance), ("log_id", wallet.EntryNo), ("replayed", false)).Fields;
            return new Outcome
            {
                Fields = fields,
                Learn = result => fields["reservation_id"] = id.Id = result.GetProperty("reservation_id").GetGuid(),
            };
        });
    }

    private (Wallet? Wallet, Hold? Hold, DateTime Now) FindHold(Guid reservation)
    {
        foreach (var wallet in Wallets.Values)
        {
            if (wallet.Holds.FirstOrDefault(h => h.Reservation.Id == reservation) is not { } hold)
                continue;
            var now = Now(wallet);
            Settle(wallet, now);
            return (wallet, hold, now);
        }
        return default;
    }

    private void Release(Wallet wallet, Hold hold, DateTime at, string status)
    {
        wallet.GiveBack(hold.Parts);
        wallet.AddEntry(at);
        hold.Status = status;
        Count(hold.Action, hold.LimitPeriod, hold.LimitPeriodNo, -hold.Quantity);
    }

    public Outcome Extend(Guid reservation, TimeSpan ttl)
    {
        var (wallet, hold, now) = FindHold(reservation);
        if (wallet is null || hold is null)
            return Outcome.Declined("not_found");
        if (hold.Status != "held")
            return Outcome.Error("UC311");
        hold.Expires = now + ttl > hold.Expires ? now + ttl : hold.Expires;
        return Outcome.Ok(("expires_at", hold.Expires), ("credits_held", hold.Amount));
    }

    public Outcome ReleaseReservation(Guid reservation)
    {
        var (wallet, hold, now) = FindHold(reservation);
        if (wallet is null || hold is null)
            return Outcome.Declined("not_found");
        if (hold.Status == "committed")
            return Outcome.Error("UC310");
        var isReplay = hold.Status != "held";
        if (!isReplay)
        {
            Release(wallet, hold, now, "released");
            wallet.ExpireReturned(now, hold.Parts);
            PayOwed(wallet, now);
        }
        return Outcome.Ok(("credits_released", hold.Amount), ("balance_after", wallet.Balance), ("replayed", isReplay));
    }

    public Outcome Commit(Guid reservation, decimal? quantity)
    {
        var (wallet, hold, now) = FindHold(reservation);
        if (wallet is null || hold is null)
            return Outcome.Declined("not_found");
        var units = quantity ?? hold.Quantity;
        if (hold.Status == "released" || (hold.Status == "committed" && hold.CommittedQuantity != units))
            return Outcome.Error("UC312");
        if (hold.Status == "committed")
            return hold.Result!.Replayed();

        var isHeld = hold.Status == "held";
        var held = isHeld ? hold.Amount : 0;
        var heldUnits = isHeld ? hold.Quantity : 0;
        var amount = Cost(hold.UnitPrice, units);
        var quote = QuoteFor(hold.Action, now);
        var isSamePeriod = hold.LimitPeriod == quote.Period && hold.LimitPeriodNo == quote.PeriodNo;
        var code = Status != "active" && amount > held ? "account_suspended"
            : units > heldUnits && quote.Used - (isSamePeriod ? heldUnits : 0) + units > quote.Limit ? "limit_reached"
            : wallet.Spendable < amount - held ? "insufficient_credits" : null;
        if (code is not null)
            return Outcome.Declined(code, ("required", amount - held), ("available", wallet.Spendable));

        var spent = new List<Part>();
        if (isHeld)
        {
            var surplus = new List<Part>();
            var rest = amount;
            foreach (var part in hold.Parts)
            {
                var taken = Math.Min(rest, part.Amount);
                rest -= taken;
                if (taken > 0)
                    spent.Add(part with { Amount = taken });
                if (taken < part.Amount)
                    surplus.Add(part with { Amount = part.Amount - taken });
            }
            wallet.GiveBack(surplus);
            wallet.AddEntry(now);
            wallet.ExpireReturned(now, surplus);
        }
        if (amount > held)
            spent.AddRange(wallet.Draw(amount - held));
        wallet.AddEntry(now);
        Count(hold.Action, hold.LimitPeriod, hold.LimitPeriodNo, -heldUnits);
        Count(hold.Action, quote.Period, quote.PeriodNo, units);
        wallet.Charges.Add(new Charge(wallet.EntryNo, hold.Action, amount, spent));
        hold.Status = "committed";
        hold.CommittedQuantity = units;
        hold.Result = Outcome.Ok(("action_type", hold.Action), ("credits_deducted", amount), ("quantity", units),
            ("credits_released", Math.Max(held - amount, 0)), ("balance_before", wallet.Balance + amount), ("balance_after", wallet.Balance),
            ("log_id", wallet.EntryNo), ("replayed", false), ("reservation_id", reservation));
        PayOwed(wallet, now);
        return hold.Result;
    }

    // Plans

    /// <summary>An upgrade brings the difference at once, a downgrade waits for the next reset; what is due is due on the old plan.</summary>
    public Outcome ChangePlan(string planId)
    {
        if (Status == "closed")
            return Outcome.Error("UC340");
        var now = Wallets.Values.Select(Now).Max();
        foreach (var wallet in Wallets.Values)
            Settle(wallet, now);
        var previous = Plan.Id;
        Plan = plans[planId];
        var granted = new Dictionary<string, decimal>();
        foreach (var wallet in Wallets.Values.ToList())
        {
            if (Plan.Allowances.GetValueOrDefault(wallet.CreditType) is not { } allowance)
                continue;
            if (allowance.Period == "once")
            {
                var had = wallet.Grants.Where(g => g is { Source: "trial", Period: -1 }).Sum(g => g.Amount);
                Add(wallet, allowance.Amount - had, "trial", null, -1);
                continue;
            }
            var number = PeriodNumber(allowance.Period, now);
            var next = PeriodStart(allowance.Period, number + 1);
            if (wallet.NextReset is null)
            {
                wallet.LastReset = PeriodStart(allowance.Period, number);
                (wallet.IsResetRunning, wallet.IsRolledBack) = (false, false);
            }
            wallet.NextReset = wallet.NextReset > next ? wallet.NextReset : next;
            // What the running period brought, a reset that was rolled back too, but not what that restored.
            var running = wallet.Grants
                .Where(g => g is { Source: "monthly", Period: not null } && wallet.IsResetRunning && g.No >= wallet.LastResetGrant)
                .Sum(g => g.Amount);
            wallet.AllowancePeriod = number;
            Add(wallet, allowance.Amount - running, "monthly", wallet.NextReset, number);
            if (!wallet.IsResetRunning && granted.ContainsKey(wallet.CreditType))
                (wallet.IsResetRunning, wallet.LastResetGrant) = (true, wallet.EntryNo);
        }
        PayOwed(Credits, now);
        return Outcome.Ok(("plan_id", planId), ("previous_plan_id", previous), ("granted", granted));

        void Add(Wallet wallet, decimal amount, string source, DateTime? expires, int period)
        {
            if (amount <= 0)
                return;
            wallet.AddGrant(now, amount, source, expires: expires, period: period);
            granted[wallet.CreditType] = amount;
        }
    }

    /// <summary>Takes the last reset back: its grant ends, what was spent of it is written off, and what expired with it lives until the next reset.</summary>
    public Outcome RollbackReset(string creditType, DateTime periodStart)
    {
        var wallet = Wallets[creditType];
        var now = Now(wallet);
        Settle(wallet, now);
        if (wallet.LastReset != periodStart || !wallet.IsResetRunning)
            return Outcome.Error("UC320");
        if (wallet.IsRolledBack)
            return Outcome.Declined("already_settled");
        var grant = wallet.Find(wallet.LastResetGrant);
        var revoked = grant.Remaining;
        wallet.AddEntry(now);
        grant.Remaining = 0;
        grant.Expires = now;
        var restored = 0m;
        foreach (var old in wallet.Grants.Where(g => g.Source == "monthly" && g.Expires == periodStart && g != grant).ToList())
        {
            foreach (var (_, amount) in old.Expired.Where(e => e.At >= periodStart))
            {
                wallet.AddEntry(now);
                old.Remaining += amount;
                restored += amount;
            }
            // Also what was held or spent then.
            old.Expires = wallet.NextReset;
        }
        wallet.IsRolledBack = true;
        PayOwed(wallet, now);
        return Outcome.Ok(("revoked", revoked), ("written_off", grant.Amount - revoked), ("restored", restored), ("balance_after", wallet.Balance));
    }
}

namespace CreditDb.Tests.Model;

/// <summary>One operation with its arguments: the statement, and what the model makes of it.</summary>
public sealed record Operation(string Sql, Func<CreditModel, Outcome> Model)
{
    /// <summary>Whether the statement returns an outcome (a write to an application table returns nothing).</summary>
    public bool ReturnsOutcome { get; init; } = true;

    /// <summary>Whether nobody may see a difference: what there is to read is read before and after.</summary>
    public bool ChangesNothing { get; init; }

    /// <summary>Whether it may change more than one wallet.</summary>
    public bool TouchesAll { get; init; }
}

/// <summary>
/// Makes operations with random arguments that suit the state of the model. To add one: a method that returns it (or null where it does not apply
/// now), a method of CreditModel that says what it does, and a line with its weight in <see cref="All"/>.
/// </summary>
public sealed partial class Operations
{
    private readonly Random _random;
    private readonly List<Operation> _keyed = [];
    private readonly (int Weight, Func<CreditModel, Operation?> Make)[] _all;

    public Operations(Random random)
    {
        _random = random;
        _all = [.. All()];
    }

    private IEnumerable<(int Weight, Func<CreditModel, Operation?> Make)> All() =>
    [
        (22, Deduct),
        (4, DeductChatMessage),
        (5, DeductCall),
        (6, InsertBots),
        (4, InsertTemplates),
        (7, WriteCall),
        (4, ChargeUncharged),
        (8, GrantCredits),
        (3, AddPurchasedCredits),
        (3, AdjustUp),
        (6, AdjustDown),
        (8, Refund),
        (9, Reserve),
        (3, Extend),
        (8, Commit),
        (5, Release),
        (3, ChangePlan),
        (3, RollbackReset),
        (4, Track),
        (1, ImportBalance),
        (1, ImportHistory),
        (4, OpenChat),
        (12, RecordChat),
        (4, CreatePurchase),
        (4, CompletePurchase),
        (1, FailPurchase),
        (4, RefundPurchase),
        (2, ReinstatePurchase),
        (2, Suspend),
        (25, Reactivate),
        (1, Close),
        (1, Erase),
        (4, SettleDueWallets),
        (2, ArchiveLedger),
        (2, RollUpUsage),
        (5, Repeat),
    ];

    public Operation Next(CreditModel model)
    {
        while (true)
        {
            var at = _random.Next(_all.Sum(o => o.Weight));
            var make = _all.First(o => (at -= o.Weight) < 0).Make;
            if (make(model) is { } operation)
                return operation;
        }
    }

    private Operation Deduct(CreditModel model)
    {
        var action = Chance(0.01) ? "no_such_action" : Pick(World.Prices.Keys);
        var (quantity, key) = (Quantity(), Key(0.3));
        Guid? reference = key is not null && Chance(0.2) ? NewId() : null;
        var arguments = quantity == 1 && key is null ? "" : $", p_quantity => {quantity.Sql()}, p_reference_id => {reference.Sql()}, p_idempotency_key => {key.Sql()}";
        return Keyed(key, new Operation($"select credits.deduct_credits_for_action({model.UserId.Sql()}, '{action}'{arguments})",
            m => m.Deduct(action, quantity, key, reference)));
    }

    private Operation DeductChatMessage(CreditModel model)
    {
        var key = Key(0.2);
        return Keyed(key, new Operation($"select credits.deduct_chat_message({model.UserId.Sql()}, {key.Sql()})", m => m.DeductChatMessage(key)));
    }

    private Operation DeductCall(CreditModel model)
    {
        var call = model.Calls.Count > 0 && Chance(0.7) ? Pick(model.Calls.Keys) : NewId();
        var seconds = Seconds();
        return new Operation($"select credits.deduct_call_credits({model.UserId.Sql()}, {call.Sql()}, {seconds})", m => m.DeductCall(call, seconds));
    }

    private Operation InsertBots(CreditModel model) => InsertRows(model, "public.bots", "create_agent");

    private Operation InsertTemplates(CreditModel model) => InsertRows(model, "public.email_templates", "generate_template");

    private Operation InsertRows(CreditModel model, string table, string action)
    {
        var rows = Enumerable.Range(0, Chance(0.6) ? 1 : _random.Next(2, 5)).Select(_ => new Row(NewId().ToString(), 1)).ToList();
        var values = string.Join(", ", rows.Select(r => $"('{r.Id}', {model.UserId.Sql()}, 'a')"));
        return new Operation($"insert into {table} (id, user_id, name) values {values}", m => m.WriteRows(action, table, rows)) { ReturnsOutcome = false };
    }

    private Operation WriteCall(CreditModel model)
    {
        var call = model.Calls.Count > 0 && Chance(0.6) ? Pick(model.Calls.Keys) : NewId();
        var status = Chance(0.6) ? "completed" : "queued";
        int? seconds = Chance(0.2) ? null : Chance(0.1) ? 0 : Seconds();
        var sql = model.Calls.ContainsKey(call)
            ? $"update public.calls set status = '{status}', duration_seconds = {seconds.Sql()} where id = {call.Sql()}"
            : $"insert into public.calls (id, user_id, status, duration_seconds) values ({call.Sql()}, {model.UserId.Sql()}, '{status}', {seconds.Sql()})";
        return new Operation(sql, m => m.WriteCall(call, status, seconds)) { ReturnsOutcome = false };
    }

    private static Operation ChargeUncharged(CreditModel model) =>
        new($"select credits.charge_uncharged({model.UserId.Sql()})", m => m.ChargeUncharged());

    private Operation GrantCredits(CreditModel model)
    {
        var source = Pick(["monthly", "purchased", "trial", "promotional", "refund", "adjustment"]);
        var (type, amount, key) = (CreditType(), Amount(), Key(0.3));
        DateTime? expires = Chance(source == "purchased" ? 0.95 : 0.4) ? null : Chance(0.2) ? model.Wallets[type].NextReset : model.Clock.AddSeconds(_random.Next(-60, 40 * 86400));
        int? priority = Chance(0.5) ? null : _random.Next(0, 60);
        var reference = Chance(0.5) ? null : "a reference";
        return Keyed(key, new Operation($"select credits.grant_credits({model.UserId.Sql()}, {amount.Sql()}, '{source}', {expires.Sql()}, {priority.Sql()}, {reference.Sql()}, "
            + $"p_idempotency_key => {key.Sql()}, p_credit_type => '{type}')", m => m.GrantCredits(type, amount, source, expires, priority, reference, key)));
    }

    private Operation AddPurchasedCredits(CreditModel model)
    {
        var (amount, key) = (Amount(), Key(0.5));
        return Keyed(key, new Operation($"select credits.add_purchased_credits({model.UserId.Sql()}, {amount.Sql()}, 'invoice', {key.Sql()})",
            m => m.GrantCredits("credits", amount, "purchased", null, null, "invoice", key)));
    }

    private Operation AdjustUp(CreditModel model) => Adjust(model, CreditType(), Amount());

    private Operation AdjustDown(CreditModel model)
    {
        var type = CreditType();
        // Often nearly all there is, so that accounts are short of credits most of the time.
        var part = Math.Round(model.Wallets[type].Spendable * _random.Next(30, 106) / 100, _random.Next(0, 3));
        return Adjust(model, type, part > 0 && Chance(0.7) ? -part : -Amount());
    }

    private Operation Adjust(CreditModel model, string type, decimal amount)
    {
        var (key, reason) = (Key(0.2), "a correction");
        return Keyed(key, new Operation($"select credits.adjust_credits({model.UserId.Sql()}, {amount.Sql()}, '{reason}', {key.Sql()}, '{type}')",
            m => m.Adjust(type, amount, reason, key)));
    }

    private Operation? Refund(CreditModel model)
    {
        var type = Chance(0.85) ? "credits" : "chat_messages";
        var wallet = model.Wallets[type];
        if (wallet.Charges.Count == 0)
            return null;
        var charge = Chance(0.5) ? wallet.Charges[^1] : Pick(wallet.Charges);
        var logId = Chance(0.03) ? wallet.EntryNo + 1 : charge.EntryNo;
        decimal? amount = Chance(0.4) || charge.Amount == 0 ? null : Math.Max(0.000001m, Math.Round(charge.Amount * _random.Next(10, 120) / 100, _random.Next(0, 7)));
        var key = Key(0.2);
        return Keyed(key, new Operation($"select credits.refund_credits({model.UserId.Sql()}, {logId}, {amount.Sql()}, 'sorry', {key.Sql()}, '{type}')",
            m => m.Refund(type, logId, amount, key)));
    }

    private Operation Reserve(CreditModel model)
    {
        var (action, quantity, ttl, key) = (Pick(World.Prices.Keys), Quantity(), Ttl(), Key(0.3));
        return Keyed(key, new Operation($"select credits.reserve_credits({model.UserId.Sql()}, '{action}', {quantity.Sql()}, {ttl.Sql()}, '{{}}', {key.Sql()})",
            m => m.Reserve(action, quantity, ttl, key)));
    }

    private Operation? Extend(CreditModel model)
    {
        var (hold, ttl) = (Reservation(model), Ttl());
        return hold is null ? null
            : new Operation($"select credits.extend_reservation({model.UserId.Sql()}, {hold.Reservation.Id.Sql()}, {ttl.Sql()})", m => m.Extend(hold.Reservation.Id, ttl));
    }

    private Operation? Commit(CreditModel model)
    {
        if (Reservation(model) is not { } hold)
            return null;
        decimal? quantity = Chance(0.4) ? null
            : Chance(0.3) && hold.Status == "committed" ? hold.CommittedQuantity
            : Math.Max(0.000001m, Math.Round(hold.Quantity * _random.Next(20, 250) / 100, _random.Next(0, 7)));
        return new Operation($"select credits.commit_reservation({model.UserId.Sql()}, {hold.Reservation.Id.Sql()}, {quantity.Sql()})",
            m => m.Commit(hold.Reservation.Id, quantity));
    }

    private Operation? Release(CreditModel model) => Reservation(model) is not { } hold ? null
        : new Operation($"select credits.release_reservation({model.UserId.Sql()}, {hold.Reservation.Id.Sql()}, 'not needed')",
            m => m.ReleaseReservation(hold.Reservation.Id));

    private Operation? ChangePlan(CreditModel model)
    {
        var plan = Pick(World.Plans.Keys);
        return new Operation($"select credits.change_plan({model.UserId.Sql()}, '{plan}')", m => m.ChangePlan(plan)) { TouchesAll = true };
    }

    private Operation? RollbackReset(CreditModel model)
    {
        var type = CreditType();
        var projected = model.Copy();
        projected.Settle(projected.Wallets[type], projected.Now(projected.Wallets[type]));
        if (projected.Wallets[type].LastReset is not { } last)
            return null;
        var start = Chance(0.9) ? last : last.AddDays(-1);
        return new Operation($"select credits.rollback_reset({model.UserId.Sql()}, '{type}', {start.Sql()}, 'a mistake')", m => m.RollbackReset(type, start));
    }

    /// <summary>A request with a key once more, as a caller does who saw no answer, perhaps weeks later.</summary>
    private Operation? Repeat(CreditModel model) => _keyed.Count == 0 ? null : _keyed[_random.Next(_keyed.Count)];

    // Arguments

    private bool Chance(double probability) => _random.NextDouble() < probability;

    private T Pick<T>(IReadOnlyCollection<T> items) => items.ElementAt(_random.Next(items.Count));

    public Guid NewId()
    {
        var bytes = new byte[16];
        _random.NextBytes(bytes);
        return new Guid(bytes);
    }

    private string CreditType() => Chance(0.85) ? "credits" : "chat_messages";

    private string? Key(double probability) => Chance(probability) ? "key " + _random.Next(1, 30) : null;

    private decimal Quantity() => Chance(0.55) ? 1 : Chance(0.6) ? _random.Next(1, 9) : Decimals(_random.Next(1, 4_000_000));

    private decimal Amount() => Chance(0.7) ? _random.Next(1, 60) : Decimals(_random.Next(1, 40_000_000));

    private decimal Decimals(int millionths) => Math.Max(0.000001m, Math.Round(millionths / 1_000_000m, _random.Next(1, 7)));

    private int Seconds() => Chance(0.1) ? 60 * _random.Next(1, 10) : _random.Next(1, 900);

    private TimeSpan Ttl() => TimeSpan.FromSeconds(Chance(0.5) ? _random.Next(1, 900) : Chance(0.7) ? _random.Next(1, 86400) : _random.Next(1, 30 * 86400));

    private Hold? Reservation(CreditModel model)
    {
        var holds = model.Wallets.Values.SelectMany(w => w.Holds).ToList();
        var held = holds.Where(h => h.Status == "held").ToList();
        return holds.Count == 0 ? null : held.Count > 0 && Chance(0.75) ? Pick(held) : Pick(holds);
    }

    private Operation Keyed(string? key, Operation operation)
    {
        if (key is not null)
            _keyed.Add(operation);
        return operation;
    }
}

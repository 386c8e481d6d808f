namespace CreditDb.Tests.Model;

/// <summary>A chat metered by time, at the price of its beginning.</summary>
public sealed record Session(Guid Id, decimal Rate, int FreeSeconds, DateTime StartedAt)
{
    public const int Interval = 15;

    public int Elapsed { get; set; }

    public int Charged { get; set; }

    public decimal Used { get; set; }

    public DateTime UpdatedAt { get; set; }

    public int PaidSeconds => Math.Max(Elapsed - FreeSeconds, 0);

    public int Uncharged => (PaidSeconds / Interval) - Charged;

    public decimal Owed => Uncharged * Rate;
}

/// <summary>Metered chat: whole intervals are charged as far as the credits reach, the others are owed until credits come.</summary>
public sealed partial class CreditModel
{
    private const string ChatTime = "chat_time";

    /// <summary>The older session first, whole intervals only.</summary>
    private void PayOwed(Wallet wallet, DateTime at)
    {
        if (wallet != Credits || Status != "active")
            return;
        foreach (var session in Sessions.Where(s => s.Owed > 0).OrderBy(s => s.StartedAt).ThenBy(s => s.Id.ToString(), StringComparer.Ordinal))
            ChargeTime(session, at, (int)Math.Min(session.Uncharged, Math.Floor(wallet.Spendable / session.Rate)));
    }

    private void ChargeTime(Session session, DateTime at, int intervals)
    {
        if (intervals == 0 || Status != "active")
            return;
        Book(Credits, at, QuoteFor(ChatTime, at), intervals, session.Rate * intervals);
        session.Charged += intervals;
        session.Used += session.Rate * intervals;
        session.UpdatedAt = at > session.UpdatedAt ? at : session.UpdatedAt;
    }

    public Outcome OpenChat(Guid id, int? freeSeconds)
    {
        var now = Now(Credits);
        Settle(Credits, now);
        var session = Sessions.FirstOrDefault(s => s.Id == id);
        var isOpened = session is null;
        if (session is null)
        {
            session = new Session(id, QuoteFor(ChatTime, now).UnitPrice, freeSeconds ?? Plan.FreeChatSeconds, now) { UpdatedAt = now };
            Sessions.Add(session);
        }
        var where = Stands(session, 0);
        return Outcome.Ok([("opened", isOpened), ("free_seconds", session.FreeSeconds), ("started_at", session.StartedAt),
            .. where.Fields.Where(f => f.Key is not ("code" or "success")).Select(f => (f.Key, f.Value))]);
    }

    /// <summary>The client's running total: less than was reported before says nothing, and more than a minute ahead of the clock is refused.</summary>
    public Outcome RecordChat(Guid id, int elapsed)
    {
        if (Sessions.FirstOrDefault(s => s.Id == id) is not { } session)
            return Outcome.Declined("not_found");
        var now = Now(Credits);
        Settle(Credits, now);
        if (elapsed > Ahead(session))
            return Outcome.Error("UC001");
        if (elapsed <= session.Elapsed)
            return Stands(session, 0);
        var used = session.Used;
        session.Elapsed = elapsed;
        session.UpdatedAt = now > session.UpdatedAt ? now : session.UpdatedAt;
        if (session.Rate == 0)
            ChargeTime(session, now, session.Uncharged);
        PayOwed(Credits, now);
        return Stands(session, session.Used - used);
    }

    /// <summary>The greatest total that may be reported now.</summary>
    public int Ahead(Session session)
    {
        var now = Now(Credits) > session.UpdatedAt ? Now(Credits) : session.UpdatedAt;
        return (int)Math.Floor((now - session.StartedAt).TotalSeconds) + 60;
    }

    private Outcome Stands(Session session, decimal charged)
    {
        var code = session.Uncharged == 0 ? "ok" : Status != "active" ? "account_suspended" : "insufficient_credits";
        var affordable = Status != "active" ? 0 : session.Rate == 0 ? (decimal?)null : Math.Floor(Credits.Spendable / session.Rate);
        var freeLeft = Math.Max(session.FreeSeconds - session.Elapsed, 0);
        var begun = session.PaidSeconds - (session.Charged * Session.Interval);
        var left = code != "ok" ? 0 : freeLeft + (affordable * Session.Interval is { } paid ? Math.Max(paid - begun, 0) : (decimal?)null);
        (string Name, object? Value)[] fields =
        [
            ("advice", code != "ok" || left == 0 ? "stop" : left < 60 ? "warn" : "continue"),
            ("elapsed_seconds", session.Elapsed),
            ("free_seconds_left", freeLeft),
            ("credits_charged", charged),
            ("credits_used", session.Used),
            ("credits_owed", session.Owed),
            ("seconds_left", left),
            ("available", Credits.Spendable),
            ("rate", session.Rate),
            ("interval_seconds", Session.Interval),
            ("balance_after", Credits.Balance),
        ];
        return code == "ok" ? Outcome.Ok(fields) : Outcome.Declined(code, fields);
    }
}

namespace CreditDb.Tests.Model;

/// <summary>Chat clients: they report late, twice, out of order, and ahead of the clock.</summary>
public sealed partial class Operations
{
    private Operation OpenChat(CreditModel model)
    {
        var id = model.Sessions.Count > 0 && Chance(0.1) ? Pick(model.Sessions).Id : NewId();
        int? free = Chance(0.5) ? null : _random.Next(0, 100);
        return new Operation($"select credits.open_chat_session({model.UserId.Sql()}, {id.Sql()}, {free.Sql()})", m => m.OpenChat(id, free));
    }

    private Operation? RecordChat(CreditModel model)
    {
        if (model.Sessions.Count == 0)
            return null;
        var session = Chance(0.6) ? model.Sessions[^1] : Pick(model.Sessions);
        var latest = model.Ahead(session);
        var elapsed = _random.Next(100) switch
        {
            < 15 => _random.Next(0, session.Elapsed + 1),
            < 20 => latest + 1,
            < 30 => Math.Min(latest, session.Elapsed + 7200),
            _ => Math.Min(latest, session.Elapsed + _random.Next(1, 300)),
        };
        var id = Chance(0.02) ? NewId() : session.Id;
        return new Operation($"select credits.record_chat_time({model.UserId.Sql()}, {id.Sql()}, {elapsed})", m => m.RecordChat(id, elapsed));
    }
}

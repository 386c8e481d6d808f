namespace CreditDb.Tests.Model;

/// <summary>Reports of work that was carried out, and the import of what was before.</summary>
public sealed partial class Operations
{
    private Operation Track(CreditModel model)
    {
        var action = Chance(0.03) ? "no_such_action" : Pick(World.Prices.Keys);
        var success = Chance(0.6);
        // Keys of their own: they are of another function.
        var key = Chance(0.5) ? "report " + _random.Next(1, 15) : null;
        var usage = $$"""{"success": {{success.Sql()}}, "service": "a model", "tokensUsed": {{_random.Next(5000)}}, "metadata": {} }""";
        return new Operation($"select credits.track_usage_and_deduct_credits({model.UserId.Sql()}, '{action}', '{usage}', {key.Sql()})",
            m => m.Track(action, success, key));
    }

    private Operation ImportBalance(CreditModel model)
    {
        decimal? monthly = Chance(0.2) ? null : _random.Next(0, 120);
        decimal? purchased = Chance(0.4) ? null : Amount();
        return new Operation($"select credits.import_balance({model.UserId.Sql()}, {monthly.Sql()}, {purchased.Sql()})", m => m.ImportBalance(monthly, purchased));
    }

    private Operation ImportHistory(CreditModel model)
    {
        var id = _random.Next(1, 9);
        var entry = $$"""[{"id": "{{id}}", "action_type": "send_email", "amount_used": 3, "created_at": "2020-01-01T00:00:00Z" }]""";
        return new Operation($"select credits.import_history({model.UserId.Sql()}, '{entry}')", m => m.ImportHistory(id));
    }
}

namespace CreditDb.Tests.Client;

public sealed class AlertClientTests(TestDatabase db) : IClassFixture<TestDatabase>
{
    [Fact]
    public async Task Alerts_are_listed_page_by_page_and_acknowledged()
    {
        var ct = TestContext.Current.CancellationToken;
        var client = new CreditClient(db.Source);
        var user = await db.Account();
        for (var i = 0; i < 3; i++)
            await db.Run("select credits.raise_alert($1, 'high_usage', 'credits', $2, '{\"used\": 101.5}', '2026-01-01Z')", user, $"hour {i}");

        var first = await client.ListAlertsAsync(userId: user, limit: 2, ct: ct);
        var second = await client.ListAlertsAsync(userId: user, before: first[1], limit: 2, ct: ct);
        Assert.Equal((2, 1), (first.Count, second.Count));
        Assert.Equal(["hour 0", "hour 1", "hour 2"], first.Concat(second).Select(a => a.Subject).Order());
        Assert.Equal(101.5m, first[0].Details["used"]!.GetValue<decimal>());
        Assert.Empty(await client.ListAlertsAsync(kind: "discrepancy", ct: ct));

        Assert.Equal(1, (await client.AcknowledgeAlertAsync(user, first[0].AlertId, "seen", ct)).Acknowledged);
        var closed = Assert.Single(await client.ListAlertsAsync(isOpen: false, userId: user, ct: ct));
        Assert.Equal((first[0].AlertId, "seen", true), (closed.AlertId, closed.Note, closed.ClosedAt is not null && closed.AcknowledgedBy is not null));
        Assert.Equal(2, (await client.GetWorkerStateAsync(TimeSpan.FromHours(25), ct)).OpenAlerts["high_usage"]);
        await Assert.ThrowsAsync<InvalidArgumentException>(() => client.ListAlertsAsync(kind: "odd", ct: ct));
        Assert.Equal("not_found", (await Assert.ThrowsAsync<CreditException>(() => client.AcknowledgeAlertAsync(user, Guid.NewGuid(), ct: ct))).Code);
    }
}

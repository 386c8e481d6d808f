namespace CreditDb.Tests.Api;

/// <summary>What operators see of alerts over HTTP.</summary>
public sealed class AlertEndpointTests(ApiHost host) : IClassFixture<ApiHost>
{
    private const string Path = "/api/admin/alerts";

    [Fact]
    public async Task Alerts_are_listed_in_pages_and_acknowledged_once()
    {
        var user = await host.Database.Account();
        for (var n = 0; n < 5; n++)
            await Raise(user, n % 2 == 0 ? "high_usage" : "discrepancy", $"hour {n}", $"2026-01-0{1 + (n / 2)}Z");
        var (seen, more) = (new List<string>(), "");
        do
        {
            var page = await host.Admin.Get($"{Path}?userId={user}&limit=2{more}").JsonAsync();
            seen.AddRange(page.GetProperty("alerts").EnumerateArray().Select(a => a.Text("subject")));
            more = page.Text("nextBefore") is { Length: > 0 } at ? $"&before={Uri.EscapeDataString(at)}&beforeId={page.Text("nextBeforeId")}" : "";
        }
        while (more.Length > 0);
        Assert.Equal(["hour 0", "hour 1", "hour 2", "hour 3", "hour 4"], seen.Order());
        Assert.Equal("hour 4", seen[0]);

        var alert = (await host.Admin.Get($"{Path}?userId={user}&kind=high_usage&limit=1").JsonAsync()).GetProperty("alerts")[0];
        Assert.Equal((user.ToString(), "high_usage", 7m), (alert.Text("userId"), alert.Text("kind"), alert.GetProperty("details").Number("someNumber")));
        var acknowledge = $"{Path}/{alert.Text("alertId")}/acknowledge";
        Assert.Equal(1, (await host.Admin.Post(acknowledge, new { userId = user, note = "a load test" }).JsonAsync()).Number("acknowledged"));
        Assert.Equal(0, (await host.Admin.Post(acknowledge, new { userId = user, note = "again" }).JsonAsync()).Number("acknowledged"));
        var closed = (await host.Admin.Get($"{Path}?userId={user}&state=closed").JsonAsync()).GetProperty("alerts")[0];
        Assert.Equal(("hour 4", "a load test"), (closed.Text("subject"), closed.Text("note")));
        Assert.NotEqual("", closed.Text("acknowledgedBy"));
        Assert.Equal((4, 5), (await Count("open"), await Count("all")));

        async Task<int> Count(string state) => (await host.Admin.Get($"{Path}?userId={user}&state={state}").JsonAsync()).GetProperty("alerts").GetArrayLength();
    }

    [Fact]
    public async Task One_about_no_user_is_acknowledged_too_and_stays_open_until_it_is_gone()
    {
        await Raise(Guid.Empty, "attachment", "trigger gone", "2026-01-01Z");
        var alert = (await host.Admin.Get($"{Path}?kind=attachment").JsonAsync()).GetProperty("alerts")[0];
        Assert.Equal(1, (await host.Admin.Post($"{Path}/{alert.Text("alertId")}/acknowledge", new { userId = alert.Text("userId") }).JsonAsync()).Number("acknowledged"));
        Assert.Equal(0, (await host.Admin.Post($"{Path}/{alert.Text("alertId")}/acknowledge", new { }).JsonAsync()).Number("acknowledged"));
        Assert.NotEqual("", (await host.Admin.Get($"{Path}?kind=attachment").JsonAsync()).GetProperty("alerts")[0].Text("acknowledgedAt"));
    }

    [Theory]
    [InlineData("kind=odd", "kind")]
    [InlineData("state=odd", "state")]
    [InlineData("limit=201", "limit")]
    [InlineData("before=2026-01-01T00:00:00Z", "beforeId")]
    public async Task A_wrong_question_is_refused_by_name(string query, string field) =>
        Assert.Equal("#/" + field, (await host.Admin.Get($"{Path}?{query}").ProblemAsync(400, "invalid_argument")).GetProperty("errors")[0].Text("pointer"));

    [Fact]
    public async Task A_wrong_acknowledgement_is_refused_by_name()
    {
        await host.Admin.Post($"{Path}/{Guid.NewGuid()}/acknowledge", new { userId = Guid.NewGuid() }).ProblemAsync(404, "not_found");
        var problem = await host.Admin.Post($"{Path}/{Guid.NewGuid()}/acknowledge", new { note = new string('x', 1001) }).ProblemAsync(400, "invalid_argument");
        Assert.Equal("#/note", problem.GetProperty("errors")[0].Text("pointer"));
    }

    private Task<int> Raise(Guid user, string kind, string subject, string at) =>
        host.Database.Run("select credits.raise_alert($1, $2, 'credits', $3, '{\"some_number\": 7}', $4)", user, kind, subject, at);
}

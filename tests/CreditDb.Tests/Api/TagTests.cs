namespace CreditDb.Tests.Api;

/// <summary>ETags: 304 as long as nothing that is shown has changed, and never longer.</summary>
public sealed class TagTests(ApiHost host) : IClassFixture<ApiHost>
{
    [Fact]
    public async Task A_balance_has_a_new_tag_whenever_something_changes_also_by_time()
    {
        await host.Database.SetClock("2026-03-01 10:00Z");
        var user = await host.Database.Account(10);
        var path = $"/api/credits/balance?userId={user}";
        var tag = "";
        async Task Changed(string why)
        {
            var answer = await host.Service.Send(HttpMethod.Get, path, null, ("If-None-Match", tag));
            Assert.True((int)answer.StatusCode == 200, why);
            tag = answer.Headers.ETag!.ToString();
            var again = await host.Service.Send(HttpMethod.Get, path, null, ("If-None-Match", $"\"other\", {tag}"));
            Assert.Equal((304, ""), ((int)again.StatusCode, await again.Content.ReadAsStringAsync()));
            Assert.Equal((tag, true), (again.Headers.ETag!.ToString(), again.Headers.CacheControl!.NoCache));
        }

        await Changed("the first");
        await host.Service.Post("/api/credits/deduct", new { userId = user, actionType = "send_email" }).JsonAsync();
        await Changed("a charge");
        await host.Service.Post("/api/credits/reservations", new { userId = user, actionType = "send_email", ttlSeconds = 60 }).JsonAsync();
        await Changed("a hold");
        await host.Admin.Post($"/api/admin/accounts/{user}/grants", new { amount = 5, source = "trial", expiresAt = "2026-03-01T12:00:00Z" }).JsonAsync();
        await Changed("a grant");
        await host.Database.SetClock("2026-03-01 10:02Z");
        await Changed("a hold that lapsed, of which there is no entry yet");
        await host.Database.SetClock("2026-03-01 12:00Z");
        await Changed("a grant that expired, of which there is no entry yet");
        Assert.StartsWith("\"", tag, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Tags_of_two_balances_and_two_kinds_of_credits_differ()
    {
        async Task<string> Tag(Guid user, string type = "credits") =>
            (await host.Service.Get($"/api/credits/balance?userId={user}&creditType={type}")).Headers.ETag!.ToString();
        var (one, two) = (await host.Database.Account(10), await host.Database.Account(11));
        string[] tags = [await Tag(one), await Tag(two), await Tag(one, "chat_messages")];
        Assert.Equal(3, tags.Distinct().Count());
    }

    [Theory]
    [InlineData("/api/credits/costs", "select credits.set_cost('send_email', 0.75)")]
    [InlineData("/api/credits/packages", "select credits.set_package('tagged', 100, 900, 'EUR')")]
    public async Task Lists_have_a_new_tag_when_they_change(string path, string change)
    {
        using var first = await host.Service.Get(path);
        var tag = first.Headers.ETag!.ToString();
        Assert.Equal(304, (int)(await host.Service.Send(HttpMethod.Get, path, null, ("If-None-Match", tag))).StatusCode);
        await host.Database.Run(change);
        Assert.Equal(200, (int)(await host.Service.Send(HttpMethod.Get, path, null, ("If-None-Match", tag))).StatusCode);
    }
}

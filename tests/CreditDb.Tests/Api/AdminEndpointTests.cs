namespace CreditDb.Tests.Api;

/// <summary>What operators do over HTTP.</summary>
public sealed class AdminEndpointTests(ApiHost host) : IClassFixture<ApiHost>
{
    [Fact]
    public async Task Accounts_are_found_by_the_beginning_of_their_id_in_pages()
    {
        var users = Enumerable.Range(0, 5).Select(n => Guid.Parse($"abcdef0{n}-0000-4000-8000-000000000000")).ToList();
        foreach (var user in users)
            await host.Service.Post("/api/accounts", new { userId = user }).JsonAsync(201);
        var first = await host.Admin.Get("/api/admin/accounts?search=ABCDEF0&limit=3").JsonAsync();
        var second = await host.Admin.Get($"/api/admin/accounts?search=abcdef0&limit=3&after={first.Text("nextAfter")}").JsonAsync();
        Assert.Equal(users, first.GetProperty("accounts").EnumerateArray().Concat(second.GetProperty("accounts").EnumerateArray()).Select(a => Guid.Parse(a.Text("userId"))));
        Assert.Equal("", second.Text("nextAfter"));
        Assert.Equal(1, (await host.Admin.Get($"/api/admin/accounts?search={users[2]}").JsonAsync()).GetProperty("accounts").GetArrayLength());
        await host.Admin.Get("/api/admin/accounts?search=xyz").ProblemAsync(400, "invalid_argument");
    }

    [Fact]
    public async Task An_account_is_shown_with_its_balances_its_ledger_and_its_grants()
    {
        var user = await host.Database.Account(10);
        await host.Service.Post("/api/credits/deduct", new { userId = user, actionType = "create_agent" }).JsonAsync();
        var account = await host.Admin.Get($"/api/admin/accounts/{user}").JsonAsync();
        Assert.Equal(("paid", "active"), (account.Text("planId"), account.Text("status")));
        Assert.Equal(5, account.GetProperty("balances").EnumerateArray().Single(b => b.Text("creditType") == "credits").Number("total"));
        var page = await host.Admin.Get($"/api/admin/accounts/{user}/entries?limit=1").JsonAsync();
        Assert.Equal(("usage", "2"), (page.GetProperty("entries")[0].Text("kind"), page.Text("nextBefore")));
        Assert.Equal("grant", (await host.Admin.Get($"/api/admin/accounts/{user}/entries?before=2").JsonAsync()).GetProperty("entries")[0].Text("kind"));
        Assert.Equal(5, (await host.Admin.Get($"/api/admin/accounts/{user}/grants").JsonAsync()).GetProperty("grants")[0].Number("remaining"));
        await host.Admin.Get($"/api/admin/accounts/{Guid.NewGuid()}").ProblemAsync(404, "unknown_account");
    }

    [Fact]
    public async Task Credits_are_granted_and_adjusted_once_per_key()
    {
        var user = await host.Database.Account();
        object grant = new { amount = 7.5, source = "promotional", expiresAt = "2099-01-01T00:00:00Z", priority = 5, reference = "campaign", metadata = new { a = 1 } };
        Assert.Equal(7.5m, (await host.Admin.Post($"/api/admin/accounts/{user}/grants", grant, "g").JsonAsync()).Number("balanceAfter"));
        Assert.True((await host.Admin.Post($"/api/admin/accounts/{user}/grants", grant, "g").JsonAsync()).Flag("replayed"));
        Assert.Equal(5, (await host.Admin.Post($"/api/admin/accounts/{user}/adjustments", new { amount = -2.5, reason = "error" }, "a").JsonAsync()).Number("balanceAfter"));
        await host.Admin.Post($"/api/admin/accounts/{user}/adjustments", new { amount = -9, reason = "error" }).ProblemAsync(402, "insufficient_credits");
        await host.Admin.Post($"/api/admin/accounts/{user}/adjustments", new { amount = -1, reason = "other" }, "a").ProblemAsync(422, "key_reused");
        await host.Admin.Post($"/api/admin/accounts/{user}/grants", new { amount = 0, source = "trial" }).ProblemAsync(400, "invalid_argument");
        await host.Admin.Post($"/api/admin/accounts/{user}/grants", new { source = "trial" }).ProblemAsync(400, "invalid_argument");
        await host.Admin.Post($"/api/admin/accounts/{Guid.NewGuid()}/grants", new { amount = 1, source = "trial" }).ProblemAsync(404, "unknown_account");
        Assert.Equal(5, await host.Database.Balance(user));
    }

    [Fact]
    public async Task An_account_lives_changes_plans_is_suspended_closed_and_erased()
    {
        var user = Guid.NewGuid();
        await host.Service.Post("/api/accounts", new { userId = user }).JsonAsync(201);
        var at = DateTimeOffset.Parse((await host.Service.Get($"/api/credits/balance?userId={user}").JsonAsync()).Text("lastMonthlyReset"), System.Globalization.CultureInfo.InvariantCulture);
        var first = await host.Database.Value<DateTime>("select created_at from credits.credit_ledger where user_id = $1 and credit_type = 'credits' and entry_no = 1", user);
        Assert.Equal(4900, (await host.Admin.Put($"/api/admin/accounts/{user}/plan", new { planId = "pro" }).JsonAsync()).GetProperty("granted").Number("credits"));
        Assert.Equal(20, (await host.Admin.Put($"/api/admin/accounts/{user}/threshold", new { amount = 20 }).JsonAsync()).Number("threshold"));
        Assert.Equal("", (await host.Admin.Put($"/api/admin/accounts/{user}/threshold", new { }).JsonAsync()).Text("threshold"));
        Assert.Equal("suspended", (await host.Admin.Post($"/api/admin/accounts/{user}/suspend", new { reason = "x" }).JsonAsync()).Text("status"));
        Assert.Equal("active", (await host.Admin.Post($"/api/admin/accounts/{user}/reactivate", new { }).JsonAsync()).Text("status"));
        Assert.Equal(100, (await host.Admin.Get($"/api/admin/accounts/{user}/balance?at={first:O}").JsonAsync()).Number("balance"));
        await host.Admin.Get($"/api/admin/accounts/{user}/balance?at=2999-01-01T00:00:00Z").ProblemAsync(400, "invalid_argument");
        await host.Admin.Post($"/api/admin/accounts/{user}/resets/rollback", new { periodStart = at.AddDays(-1), reason = "x" }).ProblemAsync(409, "not_the_running_period");
        Assert.Equal(100, (await host.Admin.Post($"/api/admin/accounts/{user}/resets/rollback", new { periodStart = at, reason = "x" }).JsonAsync()).Number("revoked"));
        await host.Admin.Post($"/api/admin/accounts/{user}/resets/rollback", new { periodStart = at, reason = "x" }).ProblemAsync(409, "already_settled");
        Assert.Equal("closed", (await host.Admin.Post($"/api/admin/accounts/{user}/close", new { }).JsonAsync()).Text("status"));
        await host.Admin.Post($"/api/admin/accounts/{user}/reactivate", new { }).ProblemAsync(409, "account_closed");
        Assert.True((await host.Admin.Post($"/api/admin/accounts/{user}/erase", new { }).JsonAsync()).Number("entries") > 0);
        Assert.Empty((await host.Admin.Get($"/api/admin/verify?userId={user}").JsonAsync()).EnumerateArray());
    }

    [Fact]
    public async Task Prices_are_set_and_every_state_of_them_is_kept()
    {
        Assert.Equal("Fly High", (await host.Admin.Put("/api/admin/costs/fly_high", new { costPerUnit = 0.25 }).JsonAsync()).Text("actionName"));
        await host.Admin.Put("/api/admin/costs/fly_high", new { isActive = false, costPerUnit = 0 }).JsonAsync();
        Assert.Contains((await host.Admin.Get("/api/admin/costs").JsonAsync()).EnumerateArray(), c => c.Text("actionType") == "fly_high" && !c.Flag("isActive"));
        var changes = (await host.Admin.Get("/api/admin/costs/fly_high/changes").JsonAsync()).EnumerateArray().ToList();
        Assert.Equal([0, 0.25m], changes.Select(c => c.Number("costPerUnit")));
        Assert.NotEqual("", changes[0].Text("actor"));
        await host.Admin.Put("/api/admin/costs/none", new { isActive = true }).ProblemAsync(400, "invalid_argument");
        await host.Admin.Put("/api/admin/costs/NONE", new { costPerUnit = 1 }).ProblemAsync(400, "invalid_argument");
        await host.Admin.Put("/api/admin/costs/fly_high", new { costPerUnit = 0.0000001 }).ProblemAsync(400, "invalid_argument");
    }

    [Fact]
    public async Task Plans_and_packages_are_set()
    {
        await host.Admin.Put("/api/admin/plans/team", new { planName = "Team", debtLimit = 10 }).JsonAsync();
        await host.Admin.Put("/api/admin/plans/team/allowances/credits", new { amount = 2000, period = "month" }).JsonAsync();
        await host.Admin.Put("/api/admin/plans/team/allowances/chat_messages", new { amount = 5, period = "once" }).JsonAsync();
        await host.Admin.Put("/api/admin/plans/team/features/send_email", new { costPerUnit = 0.1, limitQuantity = 3, limitPeriod = "day" }).JsonAsync();
        Assert.True((await host.Admin.Delete("/api/admin/plans/team/allowances/chat_messages").JsonAsync()).Flag("removed"));
        var team = (await host.Admin.Get("/api/admin/plans").JsonAsync()).EnumerateArray().Single(p => p.Text("planId") == "team");
        Assert.Equal((10, 2000, 0.1m), (team.Number("debtLimit"), team.GetProperty("allowances")[0].Number("amount"), team.GetProperty("features")[0].Number("costPerUnit")));
        Assert.Equal(1, team.GetProperty("allowances").GetArrayLength());
        Assert.True((await host.Admin.Delete("/api/admin/plans/team/features/send_email").JsonAsync()).Flag("removed"));
        await host.Admin.Put("/api/admin/plans/none/allowances/credits", new { amount = 1, period = "day" }).ProblemAsync(400, "invalid_argument");
        await host.Admin.Put("/api/admin/plans/team/allowances/credits", new { }).ProblemAsync(400, "invalid_argument");

        await host.Admin.Put("/api/admin/packages/big", new { credits = 500, priceMinor = 900, currency = "EUR", features = new[] { "much" } }).JsonAsync();
        await host.Admin.Put("/api/admin/packages/big", new { isActive = false }).JsonAsync();
        Assert.Contains((await host.Admin.Get("/api/admin/packages").JsonAsync()).EnumerateArray(), p => p.Text("packageId") == "big" && !p.Flag("isActive"));
        await host.Admin.Put("/api/admin/packages/none", new { credits = 500 }).ProblemAsync(400, "invalid_argument");
    }

    [Fact]
    public async Task All_books_are_proven() => Assert.Empty((await host.Admin.Get("/api/admin/verify").JsonAsync()).EnumerateArray());
}

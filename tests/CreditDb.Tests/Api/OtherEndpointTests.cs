namespace CreditDb.Tests.Api;

/// <summary>Notifications, chat and accounts over HTTP.</summary>
public sealed class OtherEndpointTests(ApiHost host) : IClassFixture<ApiHost>
{
    [Fact]
    public async Task Notifications_are_listed_in_pages_and_marked_as_read()
    {
        var (user, other) = (await host.Database.Account(0), await host.Database.Account(0));
        foreach (var action in new[] { "create_agent", "voice_creation", "send_email" })
            await host.Service.Post("/api/credits/deduct", new { userId = user, actionType = action }).ProblemAsync(402, "insufficient_credits");
        using var person = await host.UserAsync(user);
        var first = await person.Get("/api/notifications?limit=2").JsonAsync();
        var second = await person.Get($"/api/notifications?limit=2&before={first.Text("nextBefore")}").JsonAsync();
        var all = first.GetProperty("notifications").EnumerateArray().Concat(second.GetProperty("notifications").EnumerateArray()).ToList();
        Assert.Equal((3, "", "send_email"), (all.Select(n => n.Text("notificationId")).Distinct().Count(), second.Text("nextBefore"), all[0].Text("actionType")));
        Assert.Equal((0.5m, "send_email"), (all[0].GetProperty("details").Number("required"), all[0].GetProperty("details").Text("actionType")));

        var id = all[0].Text("notificationId");
        using var stranger = await host.UserAsync(other);
        await stranger.Post($"/api/notifications/{id}/read", new { }).ProblemAsync(404, "not_found");
        Assert.Equal(1, (await person.Post($"/api/notifications/{id}/read", new { }).JsonAsync()).Number("read"));
        Assert.Equal(0, (await person.Post($"/api/notifications/{id}/read", new { }, "again").JsonAsync()).Number("read"));
        Assert.Equal(2, (await person.Get("/api/notifications?unread=true").JsonAsync()).GetProperty("notifications").GetArrayLength());
        Assert.Equal(2, (await host.Service.Post($"/api/notifications/read-all?userId={user}", new { }).JsonAsync()).Number("read"));
        await person.Get("/api/notifications?limit=201").ProblemAsync(400, "invalid_argument");
        await person.Get($"/api/notifications?userId={other}").ProblemAsync(403, "another_user");
    }

    [Fact]
    public async Task Chat_messages_are_taken_until_there_is_none_left()
    {
        var user = Guid.NewGuid();
        await host.Service.Post("/api/accounts", new { userId = user }).JsonAsync(201);
        await host.Admin.Post($"/api/admin/accounts/{user}/adjustments", new { amount = -19, reason = "all but one", creditType = "chat_messages" }).JsonAsync();
        using var person = await host.UserAsync(user, "spend:chat_message");
        Assert.Equal(0, (await person.Post("/api/chat/messages", new { }, "m").JsonAsync()).Number("remaining"));
        Assert.True((await person.Post("/api/chat/messages", new { }, "m").JsonAsync()).Flag("replayed"));
        Assert.Equal(0, (await person.Post("/api/chat/messages", new { }).ProblemAsync(402, "insufficient_credits")).Number("remaining"));
        using var reader = await host.UserAsync(user, "spend:send_email");
        await reader.Post("/api/chat/messages", new { }).ProblemAsync(403, "scope_missing");
    }

    [Fact]
    public async Task A_chat_session_is_opened_once_and_its_time_recorded_whether_it_can_be_paid_or_not()
    {
        var user = await host.Database.Account(0.25m);
        var opened = await host.Service.Post("/api/chat/sessions", new { userId = user, freeSeconds = 0 }, "s").JsonAsync();
        var id = opened.Text("sessionId");
        Assert.Equal((true, id), (opened.Flag("opened"), (await host.Service.Post("/api/chat/sessions", new { userId = user, freeSeconds = 0 }, "s").JsonAsync()).Text("sessionId")));
        Assert.NotEqual(id, (await host.Service.Post("/api/chat/sessions", new { userId = user }).JsonAsync()).Text("sessionId"));

        Assert.Equal(0.25m, (await host.Service.Post($"/api/chat/sessions/{id}/time", new { userId = user, elapsedSeconds = 15 }).JsonAsync()).Number("creditsCharged"));
        var unpaid = await host.Service.Post($"/api/chat/sessions/{id}/time", new { userId = user, elapsedSeconds = 30 }).JsonAsync();
        Assert.Equal((false, "insufficient_credits", "stop", 30, 0.25m),
            (unpaid.Flag("success"), unpaid.Text("code"), unpaid.Text("advice"), unpaid.Number("elapsedSeconds"), unpaid.Number("creditsOwed")));
        await host.Service.Post($"/api/chat/sessions/{Guid.NewGuid()}/time", new { userId = user, elapsedSeconds = 15 }).ProblemAsync(404, "not_found");
        await host.Service.Post($"/api/chat/sessions/{id}/time", new { userId = user, elapsedSeconds = -1 }).ProblemAsync(400, "invalid_argument");
        await host.Service.Post($"/api/chat/sessions/{id}/time", new { userId = user }).ProblemAsync(400, "invalid_argument");
    }

    [Fact]
    public async Task An_account_is_opened_once()
    {
        var user = Guid.NewGuid();
        var opened = await host.Service.Post("/api/accounts", new { userId = user, planId = "pro", timeZone = "Europe/Berlin" }).JsonAsync(201);
        Assert.Equal(("pro", "Europe/Berlin"), (opened.Text("planId"), opened.Text("timeZone")));
        Assert.Equal("pro", (await host.Service.Post("/api/accounts", new { userId = user, planId = "free" }, "any").JsonAsync()).Text("planId"));
        Assert.Equal(5000, await host.Database.Balance(user));
        await host.Service.Post("/api/accounts", new { userId = Guid.NewGuid(), planId = "none" }).ProblemAsync(400, "invalid_argument");
        await host.Service.Post("/api/accounts", new { userId = Guid.NewGuid(), timeZone = "Mars" }).ProblemAsync(400, "invalid_argument");
        await host.Service.Post("/api/accounts", new { userId = Guid.Empty }).ProblemAsync(400, "invalid_argument");
    }
}

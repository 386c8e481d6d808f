using System.Text.Json;
using CreditDb.Tests.Webhooks;

namespace CreditDb.Tests.Api;

/// <summary>Operators' webhooks: from the endpoint and its secret to the event that arrives.</summary>
public sealed class WebhookEndpointTests(ApiHost host) : IClassFixture<ApiHost>
{
    private const string Path = "/api/admin/webhooks";

    [Fact]
    public async Task An_endpoint_from_its_making_to_its_end()
    {
        await using var receiver = await Receiver.StartAsync();
        var made = await host.Admin.Post(Path, new { url = receiver.Url, events = new[] { "purchase.*", "notification.deduction_failed" }, description = "billing" }).JsonAsync(201);
        var (id, secret) = (made.Text("endpointId"), made.Text("secret"));
        Assert.Matches("^whsec_[0-9a-f]{64}$", secret);
        Assert.DoesNotContain(secret, await host.Database.Value<string>("select secret from credits.webhook_endpoints where endpoint_id = $1::uuid", id), StringComparison.Ordinal);
        var listed = await Listed(id);
        Assert.Equal(("billing", "True", receiver.Url, "[\"purchase.*\",\"notification.deduction_failed\"]"),
            (listed.Text("description"), listed.Text("isActive"), listed.Text("url"), listed.GetProperty("events").GetRawText()));
        Assert.False(listed.TryGetProperty("secret", out _));

        var test = await host.Admin.Post($"{Path}/{id}/test", new { }).JsonAsync();
        Assert.Equal(("True", 204m, ""), (test.Text("delivered"), test.Number("status"), test.Text("error")));
        var received = Assert.Single(receiver.All);
        Assert.Equal((test.Text("eventId"), "webhook.test", "", true), (received.EventId, received.Json.Text("type"), received.Json.Text("userId"), received.IsSignedBy(secret)));

        // The host delivers by itself.
        var user = await host.Database.Account();
        await host.Service.Post("/api/credits/deduct", new { userId = user, actionType = "create_agent" }).ProblemAsync(402, "insufficient_credits");
        await Eventually.TrueAsync(() => receiver.All.Count == 2, "the event does not arrive");
        Assert.True(receiver.All.Last().IsSignedBy(secret));
        Assert.Equal(user.ToString(), receiver.All.Last().Json.Text("userId"));

        var rotated = await host.Admin.Post($"{Path}/{id}/rotate-secret", new { overlapHours = 1 }).JsonAsync();
        Assert.NotEqual(secret, rotated.Text("secret"));
        Assert.NotEqual("", (await Listed(id)).Text("previousSecretUntil"));
        await host.Admin.Post($"{Path}/{id}/test", new { }).JsonAsync();
        Assert.True(receiver.All.Last().IsSignedBy(secret) && receiver.All.Last().IsSignedBy(rotated.Text("secret")));
        await host.Admin.Post($"{Path}/{id}/rotate-secret", new { overlapHours = 0 }).JsonAsync();
        await host.Admin.Post($"{Path}/{id}/test", new { }).JsonAsync();
        Assert.False(receiver.All.Last().IsSignedBy(rotated.Text("secret")));

        var changed = await host.Admin.Put($"{Path}/{id}", new { isActive = false, events = new[] { "*" } }).JsonAsync();
        Assert.Equal(("False", "[\"*\"]", receiver.Url, "billing"),
            (changed.Text("isActive"), changed.GetProperty("events").GetRawText(), changed.Text("url"), changed.Text("description")));
        Assert.Equal(0, (await host.Admin.Delete($"{Path}/{id}").JsonAsync()).Number("undelivered"));
        await host.Admin.Delete($"{Path}/{id}").ProblemAsync(404, "not_found");
    }

    [Fact]
    public async Task Adding_and_rotating_again_with_the_same_key_is_answered_as_the_first_time()
    {
        object request = new { url = "https://once.example/hooks", events = new[] { "purchase.*" } };
        var answers = await Task.WhenAll(Enumerable.Range(0, 8).Select(_ => host.Admin.Post(Path, request, "hook 1")));
        Assert.Equal(1, answers.Count(a => (int)a.StatusCode == 201));
        var made = await Task.WhenAll(answers.Select(a => Task.FromResult(a).JsonAsync((int)a.StatusCode)));
        Assert.Equal((1, 7), (made.Select(m => m.Text("endpointId") + m.Text("secret")).Distinct().Count(), made.Count(m => m.Flag("replayed"))));
        Assert.Matches("^whsec_[0-9a-f]{64}$", made[0].Text("secret"));
        await host.Admin.Post(Path, new { url = "https://other.example/hooks" }, "hook 1").ProblemAsync(422, "key_reused");

        // Somebody else's key is another one, and shows nobody's secret.
        using var other = await host.ClientAsync(["admin"]);
        var others = await other.Post(Path, request, "hook 1").JsonAsync(201);
        Assert.NotEqual(made[0].Text("endpointId"), others.Text("endpointId"));
        Assert.Equal(2, (await host.Admin.Get(Path).JsonAsync()).EnumerateArray().Count(e => e.Text("url") == "https://once.example/hooks"));

        var rotate = $"{Path}/{made[0].Text("endpointId")}/rotate-secret";
        var rotated = await Task.WhenAll(Enumerable.Range(0, 8).Select(_ => host.Admin.Post(rotate, new { overlapHours = 1 }, "rotate 1").JsonAsync()));
        Assert.Equal((1, 7), (rotated.Select(r => r.Text("secret") + r.Text("previousSecretUntil")).Distinct().Count(), rotated.Count(r => r.Flag("replayed"))));
        Assert.NotEqual(made[0].Text("secret"), rotated[0].Text("secret"));
        Assert.NotEqual(rotated[0].Text("secret"), (await host.Admin.Post(rotate, new { overlapHours = 1 }, "rotate 2").JsonAsync()).Text("secret"));

        // The first secret is gone, and is not shown as another one.
        var late = await host.Admin.Post(Path, request, "hook 1").JsonAsync();
        Assert.Equal((made[0].Text("endpointId"), "", true), (late.Text("endpointId"), late.Text("secret"), late.Flag("replayed")));
        foreach (var id in new[] { made[0].Text("endpointId"), others.Text("endpointId") })
            await host.Admin.Delete($"{Path}/{id}").JsonAsync();
    }

    [Fact]
    public async Task Dead_events_are_listed_in_pages_and_sent_again()
    {
        await using var receiver = await Receiver.StartAsync();
        var id = (await host.Admin.Post(Path, new { url = receiver.Url, isActive = false }).JsonAsync(201)).GetProperty("endpointId").GetGuid();
        var user = await host.Database.Account();
        await host.Database.Run(
            """
            insert into credits.webhook_deliveries
              (user_id, delivery_id, endpoint_id, event_id, type, data, created_at, moment_no, status, pending_since, attempts, next_attempt_at, last_error, finished_at)
            select $1, gen_random_uuid(), $2, gen_random_uuid(), 'notification.reset', jsonb_build_object('some_number', n), now() - n * interval '1 hour', 1, 'dead', now(), 12, now(), 'answered 500', now()
            from generate_series(1, 5) n
            """, user, id);
        var first = await host.Admin.Get($"{Path}/dead?endpointId={id}&limit=3").JsonAsync();
        Assert.Equal([1m, 2m, 3m], first.EnumerateArray().Select(d => d.GetProperty("data").Number("someNumber")));
        var last = first[2];
        Assert.Equal(("notification.reset", 12m, "answered 500", user.ToString()), (last.Text("type"), last.Number("attempts"), last.Text("lastError"), last.Text("userId")));
        var rest = await host.Admin.Get($"{Path}/dead?before={Uri.EscapeDataString(last.Text("createdAt"))}&beforeId={last.Text("deliveryId")}").JsonAsync();
        Assert.Equal([4m, 5m], rest.EnumerateArray().Select(d => d.GetProperty("data").Number("someNumber")));
        Assert.Equal(5, (await Listed(id.ToString())).Number("dead"));

        await host.Admin.Put($"{Path}/{id}", new { isActive = true }).JsonAsync();
        Assert.Equal(1, (await host.Admin.Post($"{Path}/dead/{last.Text("deliveryId")}/retry", new { }).JsonAsync()).Number("retried"));
        await Eventually.TrueAsync(() => receiver.All.Count == 1, "the retried event does not arrive");
        Assert.Equal(3, receiver.All.Single().Json.GetProperty("data").Number("someNumber"));
        await host.Admin.Post($"{Path}/dead/{last.Text("deliveryId")}/retry", new { }).ProblemAsync(404, "not_found");
        Assert.Equal(4, (await host.Admin.Post($"{Path}/{id}/retry-dead", new { }).JsonAsync()).Number("retried"));
        await Eventually.TrueAsync(() => receiver.All.Count == 5, "the others do not arrive");
        Assert.Equal([3m, 5m, 4m, 2m, 1m], receiver.All.Select(r => r.Json.GetProperty("data").Number("someNumber")));
        await host.Admin.Delete($"{Path}/{id}").JsonAsync();
    }

    [Fact]
    public async Task Bad_requests_are_refused_by_the_name_of_the_field()
    {
        Assert.Equal("#/url", (await host.Admin.Post(Path, new { url = "http://example.com" }).ProblemAsync(400, "invalid_argument")).GetProperty("errors")[0].Text("pointer"));
        Assert.Equal("#/events", (await host.Admin.Post(Path, new { url = "https://example.com", events = new[] { "x" } }).ProblemAsync(400, "invalid_argument")).GetProperty("errors")[0].Text("pointer"));
        Assert.Equal("#/limit", (await host.Admin.Get($"{Path}/dead?limit=0").ProblemAsync(400, "invalid_argument")).GetProperty("errors")[0].Text("pointer"));
        Assert.Equal("#/url", (await host.Admin.Post(Path, new { }).ProblemAsync(400, "invalid_argument")).GetProperty("errors")[0].Text("pointer"));
        var nobody = Guid.NewGuid();
        await host.Admin.Put($"{Path}/{nobody}", new { isActive = true }).ProblemAsync(404, "not_found");
        await host.Admin.Put($"{Path}/{nobody}", new { url = "https://example.com" }).ProblemAsync(404, "not_found");
        await host.Admin.Post($"{Path}/{nobody}/test", new { }).ProblemAsync(404, "not_found");
        await host.Admin.Post($"{Path}/{nobody}/rotate-secret", new { }).ProblemAsync(404, "not_found");
        var id = (await host.Admin.Post(Path, new { url = "https://127.0.0.1/" }).JsonAsync(201)).Text("endpointId");
        await host.Admin.Post($"{Path}/{id}/rotate-secret", new { overlapHours = 1000 }).ProblemAsync(400, "invalid_argument");
        var test = await host.Admin.Post($"{Path}/{id}/test", new { }).JsonAsync();
        Assert.Equal(("False", "127.0.0.1 is not at an address that webhooks may be sent to"), (test.Text("delivered"), test.Text("error")));
        await host.Admin.Delete($"{Path}/{id}").JsonAsync();
    }

    [Theory]
    [InlineData("GET", "")]
    [InlineData("POST", "")]
    [InlineData("PUT", "/00000000-0000-0000-0000-000000000001")]
    [InlineData("DELETE", "/00000000-0000-0000-0000-000000000001")]
    [InlineData("POST", "/00000000-0000-0000-0000-000000000001/test")]
    [InlineData("POST", "/00000000-0000-0000-0000-000000000001/rotate-secret")]
    [InlineData("POST", "/00000000-0000-0000-0000-000000000001/retry-dead")]
    [InlineData("GET", "/dead")]
    [InlineData("POST", "/dead/00000000-0000-0000-0000-000000000001/retry")]
    public async Task Only_operators_reach_webhooks(string method, string path)
    {
        using var user = await host.UserAsync(await host.Database.Account(), "spend");
        await host.Anonymous().Send(new HttpMethod(method), Path + path).ProblemAsync(401, "unauthenticated");
        await user.Send(new HttpMethod(method), Path + path).ProblemAsync(403, "forbidden");
        await host.Service.Send(new HttpMethod(method), Path + path).ProblemAsync(403, "forbidden");
    }

    [Fact]
    public async Task A_wrong_setting_stops_the_host_and_is_named()
    {
        var (exitCode, _, error) = await HostProcess.RunAsync(
            ["--Webhooks:TimeoutSeconds=0"], environment: new Dictionary<string, string?> { ["ConnectionStrings__CreditDb"] = host.Database.ConnectionString });
        Assert.Equal(1, exitCode);
        Assert.Contains("TimeoutSeconds", error, StringComparison.Ordinal);
    }

    private async Task<JsonElement> Listed(string id) => (await host.Admin.Get(Path).JsonAsync()).EnumerateArray().Single(e => e.Text("endpointId") == id);
}

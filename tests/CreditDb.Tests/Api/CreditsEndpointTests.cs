using System.Diagnostics;
using System.Text.Json;

namespace CreditDb.Tests.Api;

/// <summary>Prices, checks, charges, batches, reports and refunds over HTTP.</summary>
public sealed class CreditsEndpointTests(ApiHost host) : IClassFixture<ApiHost>
{
    [Fact]
    public async Task The_price_list_and_the_packages_come_from_the_database()
    {
        await host.Database.Run("select credits.set_cost('seldom', 0.25, p_is_active => false)");
        await host.Database.Run("select credits.set_package('small', 100, 900, 'EUR', p_features => '[\"100 credits\"]')");
        await host.Database.Run("select credits.set_package('old', 100, 800, 'EUR', p_is_active => false)");
        using var person = await host.UserAsync(await host.Database.Account());
        var costs = (await person.Get("/api/credits/costs").JsonAsync()).EnumerateArray().ToList();
        Assert.Equal(5, costs.Single(c => c.Text("actionType") == "create_agent").Number("costPerUnit"));
        Assert.DoesNotContain(costs, c => c.Text("actionType") == "seldom");
        var packages = (await person.Get("/api/credits/packages").JsonAsync()).EnumerateArray().ToList();
        Assert.Contains(packages, p => p.Text("packageId") == "small" && p.Number("priceMinor") == 900 && p.GetProperty("features")[0].GetString() == "100 credits");
        Assert.DoesNotContain(packages, p => p.Text("packageId") == "old");
    }

    [Fact]
    public async Task A_check_is_always_answered_and_says_why_not()
    {
        var user = await host.Database.Account(4);
        async Task<(bool, string, string)> Ask(Guid who, string action, decimal quantity)
        {
            var answer = await host.Service.Post("/api/credits/check", new { userId = who, actionType = action, quantity }).JsonAsync();
            return (answer.Flag("canPerform"), answer.Text("code"), answer.Text("creditsMissing"));
        }

        Assert.Equal((true, "ok", "0"), await Ask(user, "send_email", 8));
        Assert.Equal((false, "insufficient_credits", "1"), await Ask(user, "create_agent", 1));
        Assert.Equal((false, "unknown_action", "0"), await Ask(user, "fly", 1));
        Assert.False((await Ask(Guid.NewGuid(), "send_email", 1)).Item1);
        await host.Service.Post("/api/credits/check", new { userId = user, actionType = "send_email", quantity = -1 }).ProblemAsync(400, "invalid_argument");
        Assert.Equal(4, await host.Database.Balance(user));
    }

    [Fact]
    public async Task Of_parallel_requests_with_one_key_one_charges_and_the_others_are_answered_alike()
    {
        var user = await host.Database.Account(100);
        var answers = await Task.WhenAll(Enumerable.Range(0, 20).Select(_ =>
            host.Service.Post("/api/credits/deduct", new { userId = user, actionType = "create_agent", metadata = new { a = 1 } }, "order-1").JsonAsync()));
        Assert.Equal(19, answers.Count(a => a.Flag("replayed")));
        Assert.Single(answers.Select(a => a.Text("logId")).Distinct());
        Assert.Equal((95, 1), (await host.Database.Balance(user), await host.Database.Charges(user)));
    }

    [Fact]
    public async Task What_a_user_sends_as_key_is_not_what_a_service_sends()
    {
        var user = await host.Database.Account(100);
        using var person = await host.UserAsync(user, "spend");
        await person.Post("/api/credits/deduct", new { actionType = "create_agent" }, "order-1").JsonAsync();
        Assert.True((await person.Post("/api/credits/deduct", new { actionType = "create_agent" }, "order-1").JsonAsync()).Flag("replayed"));
        Assert.False((await host.Service.Post("/api/credits/deduct", new { userId = user, actionType = "create_agent" }, "order-1").JsonAsync()).Flag("replayed"));
        await person.Post("/api/credits/deduct", new { actionType = "create_agent" }, new string('k', 251)).ProblemAsync(400, "invalid_idempotency_key");
        Assert.Equal(90, await host.Database.Balance(user));
    }

    [Fact]
    public async Task A_batch_charges_each_item_and_tells_of_each()
    {
        var user = await host.Database.Account(6);
        object items = new
        {
            items = new object[]
            {
                new { userId = user, actionType = "create_agent", idempotencyKey = "a" },
                new { userId = user, actionType = "create_agent" },
                new { userId = user, quantity = 2 },
                new { userId = user, actionType = "send_email", quantity = 2 },
            },
        };
        var first = (await host.Service.Post("/api/credits/deduct/batch", items, "batch-1").JsonAsync()).GetProperty("results").EnumerateArray().ToList();
        Assert.Equal(["ok", "insufficient_credits", "invalid_argument", "ok"], first.Select(r => r.Text("code")));
        Assert.Equal("actionType", first[2].Text("argument"));
        var again = (await host.Service.Post("/api/credits/deduct/batch", items, "batch-1").JsonAsync()).GetProperty("results").EnumerateArray().ToList();
        Assert.Equal((true, true), (again[0].Flag("replayed"), again[3].Flag("replayed")));
        Assert.Equal(0, await host.Database.Balance(user));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task The_key_of_an_item_without_one_is_nobody_elses(bool isOfUser)
    {
        var user = await host.Database.Account(100);
        using var person = await host.UserAsync(user, "spend");
        var client = isOfUser ? person : host.Service;
        object Batch(string action, string? key) => new { items = new[] { new { userId = user, actionType = action, idempotencyKey = key } } };
        async Task<JsonElement> Sent(object batch, string? header = null) =>
            (await client.Post("/api/credits/deduct/batch", batch, header).JsonAsync()).GetProperty("results")[0];

        // Whatever somebody calls an item, the header's items are others.
        foreach (var key in new[] { "A/0", "A·0", "A", "A-0", "A0", "A:0", "A 0" })
        {
            if (key.Contains('·', StringComparison.Ordinal))
                await client.Post("/api/credits/deduct/batch", Batch("send_email", key)).ProblemAsync(400, "invalid_idempotency_key");
            else
                Assert.Equal(("ok", false), ((await Sent(Batch("send_email", key))).Text("code"), (await Sent(Batch("send_email", key + "'"))).Flag("replayed")));
        }

        var first = await Sent(Batch("create_agent", null), "A");
        Assert.Equal(("ok", false), (first.Text("code"), first.Flag("replayed")));
        var again = await Sent(Batch("create_agent", null), "A");
        Assert.Equal((first.Text("logId"), true), (again.Text("logId"), again.Flag("replayed")));
        Assert.Equal("key_reused", (await Sent(Batch("send_email", null), "A")).Text("code"));

        var longest = new string('k', isOfUser ? 250 : 255);
        var problem = await client.Post("/api/credits/deduct/batch", Batch("send_email", null), longest).ProblemAsync(400, "invalid_idempotency_key");
        Assert.Contains("batch", problem.Text("detail"), StringComparison.Ordinal);
        Assert.Equal("ok", (await Sent(Batch("send_email", "own"), longest)).Text("code"));
        Assert.Equal("ok", (await Sent(Batch("send_email", null), longest[..^4])).Text("code"));
    }

    [Fact]
    public async Task A_users_batch_is_no_way_around_the_users_rate()
    {
        var (user, other) = (await host.Database.Account(1000), await host.Database.Account(1000));
        using var person = await host.UserAsync(user, "spend");
        object Items(int count, Guid? who = null) => new { items = Enumerable.Repeat(new { userId = who, actionType = "send_email" }, count) };
        var problem = await person.Post("/api/credits/deduct/batch", Items(41)).ProblemAsync(400, "invalid_argument");
        Assert.Equal("#/items", problem.GetProperty("errors")[0].Text("pointer"));
        var began = Stopwatch.GetTimestamp();
        await person.Post("/api/credits/deduct/batch", Items(39)).JsonAsync();
        var answers = await Task.WhenAll(Enumerable.Range(0, 10).Select(_ => person.Post("/api/credits/deduct/batch", Items(39))));
        var seconds = Stopwatch.GetElapsedTime(began).TotalSeconds;
        Assert.Contains(answers, a => (int)a.StatusCode == 429);
        Assert.InRange(await host.Database.Charges(user), 39, 40 + (20 * (seconds + 1)));
        using var another = await host.UserAsync(other, "spend");
        await another.Post("/api/credits/deduct/batch", Items(1)).JsonAsync();
        await host.Service.Post("/api/credits/deduct/batch", Items(1000, user)).JsonAsync();
    }

    [Fact]
    public async Task A_batch_has_1_to_1000_items_and_names_the_one_that_is_wrong()
    {
        var (me, other) = (await host.Database.Account(100), await host.Database.Account(100));
        object Items(int count) => new { items = Enumerable.Repeat(new { userId = me, actionType = "send_email" }, count) };
        await host.Service.Post("/api/credits/deduct/batch", Items(0)).ProblemAsync(400, "invalid_argument");
        await host.Service.Post("/api/credits/deduct/batch", Items(1001)).ProblemAsync(400, "invalid_argument");
        Assert.Equal(0, await host.Database.Charges(me));
        await host.Service.Post("/api/credits/deduct/batch", Items(150)).JsonAsync();
        Assert.Equal(25, await host.Database.Balance(me));

        using var mailer = await host.UserAsync(me, "spend:send_email");
        async Task Refused(object item, int status, string code, string pointer)
        {
            var problem = await mailer.Post("/api/credits/deduct/batch", new { items = new[] { new { actionType = "send_email" }, item } }).ProblemAsync(status, code);
            Assert.Equal(pointer, problem.GetProperty("errors")[0].Text("pointer"));
        }

        await Refused(new { userId = other, actionType = "send_email" }, 403, "another_user", "#/items/1/userId");
        await Refused(new { actionType = "create_agent" }, 403, "scope_missing", "#/items/1/actionType");
        await Refused(new { actionType = "send_email", idempotencyKey = "" }, 400, "invalid_idempotency_key", "#/items/1/idempotencyKey");
        await Refused(new { actionType = "send_email", qty = 1 }, 400, "malformed_json", "#/items/1/qty");
        Assert.Equal((25, 100), (await host.Database.Balance(me), await host.Database.Balance(other)));
    }

    [Fact]
    public async Task A_report_of_success_is_charged_and_one_of_failure_is_kept()
    {
        var user = await host.Database.Account(10);
        object Report(bool success) => new { userId = user, operation = "video_processing", usage = new { success, service = "x", tokensUsed = 12.5, responseTime = 8.123456789 } };
        var failed = await host.Service.Post("/api/credits/track", Report(false), "t").JsonAsync();
        Assert.Equal((0, 10), (failed.Number("creditsDeducted"), await host.Database.Balance(user)));
        Assert.NotEqual("", failed.Text("attemptId"));
        Assert.Equal(2, (await host.Service.Post("/api/credits/track", Report(true), "t").JsonAsync()).Number("creditsDeducted"));
        Assert.Equal("x", await host.Database.Value<string>("select metadata ->> 'service' from credits.credit_usage_logs where user_id = $1", user));
        var wrong = await host.Service.Post("/api/credits/track", new { userId = user, operation = "video_processing", usage = new { tokensUsed = 1 } }).ProblemAsync(400, "invalid_argument");
        Assert.Equal("#/usage/success", wrong.GetProperty("errors")[0].Text("pointer"));
        await host.Service.Post("/api/credits/track", new { userId = await host.Database.Account(), operation = "video_processing", usage = new { success = true } })
            .ProblemAsync(402, "insufficient_credits");
    }

    [Fact]
    public async Task A_user_cannot_fill_tables_with_failures()
    {
        var user = await host.Database.Account(10);
        using var person = await host.UserAsync(user, "spend");
        await person.Post("/api/credits/track", new { operation = "send_email", usage = new { success = false } }).ProblemAsync(403, "forbidden");
        await person.Post("/api/credits/track", new { operation = "send_email", usage = new { success = true } }).JsonAsync();
        Assert.Equal(0, await host.Database.Value<long>("select count(*) from credits.usage_attempts where user_id = $1", user));
    }

    [Fact]
    public async Task A_refund_gives_back_once_and_never_more_than_the_charge()
    {
        var user = await host.Database.Account(10);
        var log = (await host.Service.Post("/api/credits/deduct", new { userId = user, actionType = "create_agent" }).JsonAsync()).Number("logId");
        Assert.Equal(2, (await host.Service.Post("/api/credits/refunds", new { userId = user, logId = log, amount = 2, reason = "half" }, "r").JsonAsync()).Number("creditsRefunded"));
        Assert.True((await host.Service.Post("/api/credits/refunds", new { userId = user, logId = log, amount = 2 }, "r").JsonAsync()).Flag("replayed"));
        await host.Service.Post("/api/credits/refunds", new { userId = user, logId = log, amount = 4 }).ProblemAsync(409, "already_settled");
        Assert.Equal(10, (await host.Service.Post("/api/credits/refunds", new { userId = user, logId = log }).JsonAsync()).Number("balanceAfter"));
        await host.Service.Post("/api/credits/refunds", new { userId = user, logId = 999 }).ProblemAsync(404, "not_found");
        await host.Service.Post("/api/credits/refunds", new { userId = user }).ProblemAsync(400, "invalid_argument");
    }

    [Fact]
    public async Task A_suspended_account_spends_nothing()
    {
        var user = await host.Database.Account(10);
        await host.Admin.Post($"/api/admin/accounts/{user}/suspend", new { reason = "fraud" }).JsonAsync();
        await host.Service.Post("/api/credits/deduct", new { userId = user, actionType = "send_email" }).ProblemAsync(403, "account_suspended");
    }

    [Fact]
    public async Task A_limit_of_the_plan_is_402_and_says_how_much_of_it_is_used()
    {
        var user = Guid.NewGuid();
        await host.Service.Post("/api/accounts", new { userId = user }).JsonAsync(201);
        await host.Service.Post("/api/credits/deduct", new { userId = user, actionType = "voice_creation" }).JsonAsync();
        var problem = await host.Service.Post("/api/credits/deduct", new { userId = user, actionType = "voice_creation" }).ProblemAsync(402, "limit_reached");
        Assert.Equal((1, 1, "month"), (problem.Number("limit"), problem.Number("used"), problem.Text("limitPeriod")));
    }
}

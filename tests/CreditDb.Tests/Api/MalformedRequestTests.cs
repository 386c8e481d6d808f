using System.Net.Http.Headers;
using System.Text;

namespace CreditDb.Tests.Api;

/// <summary>Whatever is sent, the answer is a problem that says what is wrong, nothing is charged, and nothing fails.</summary>
public sealed class MalformedRequestTests(ApiHost host) : IClassFixture<ApiHost>
{
    public static TheoryData<string, string, string> Deductions => new()
    {
        { """{"userId":"USER","actionType":"send_email","qty":2}""", "malformed_json", "#/qty" },
        { """{"userId":"USER"}""", "invalid_argument", "#/actionType" },
        { """{"userId":"cc","actionType":"send_email"}""", "invalid_argument", "#/userId" },
        { """{"userId":7,"actionType":"send_email"}""", "invalid_argument", "#/userId" },
        { """{"userId":"USER","actionType":null}""", "invalid_argument", "#/actionType" },
        { """{"userId":"USER","actionType":"send_email","actionType":"create_agent"}""", "malformed_json", "#/actionType" },
        { """{"userId":"USER","actionType":"send_email","ActionType":"create_agent"}""", "malformed_json", "#/ActionType" },
        { """{"userId":"USER","actionType":"send_email","quantity":0.1234567}""", "invalid_argument", "#/quantity" },
        { """{"userId":"USER","actionType":"send_email","quantity":1.00000000000000000000000000000000000001}""", "invalid_argument", "#/quantity" },
        { """{"userId":"USER","actionType":"send_email","quantity":10000001e-7}""", "invalid_argument", "#/quantity" },
        { """{"userId":"USER","actionType":"send_email","quantity":1e-99999999999999999999}""", "invalid_argument", "#/quantity" },
        { """{"userId":"USER","actionType":"send_email","quantity":1e500}""", "invalid_argument", "#/quantity" },
        { """{"userId":"USER","actionType":"send_email","quantity":99999999999999999999999999999999999}""", "invalid_argument", "#/quantity" },
        { """{"userId":"USER","actionType":"send_email","quantity":1000000001}""", "invalid_argument", "#/quantity" },
        { """{"userId":"USER","actionType":"send_email","quantity":-1}""", "invalid_argument", "#/quantity" },
        { """{"userId":"USER","actionType":"send_email","quantity":-0}""", "invalid_argument", "#/quantity" },
        { """{"userId":"USER","actionType":"send_email","quantity":"1"}""", "invalid_argument", "#/quantity" },
        { """{"userId":"USER","actionType":"send_email","quantity":NaN}""", "malformed_json", "#/quantity" },
        { """{"userId":"USER","actionType":"send_email","quantity":"NaN"}""", "invalid_argument", "#/quantity" },
        { """{"userId":"USER","actionType":"send_email","quantity":true}""", "invalid_argument", "#/quantity" },
        { """{"userId":"USER","actionType":"a\u0000b"}""", "invalid_argument", "#/actionType" },
        { """{"userId":"USER","actionType":"a\ud800b"}""", "malformed_json", "#/actionType" },
        { """{"userId":"USER","actionType":""}""", "invalid_argument", "#/actionType" },
        { """{"userId":"USER","actionType":7}""", "malformed_json", "#/actionType" },
        { """{"userId":"USER","actionType":"send_email","referenceId":"x"}""", "invalid_argument", "#/referenceId" },
        { """{"userId":"USER","actionType":"send_email","metadata":[]}""", "invalid_argument", "#/metadata" },
        { """{"userId":"USER","actionType":"send_email","metadata":"x"}""", "invalid_argument", "#/metadata" },
        { """{"userId":"USER","actionType":"send_email","metadata":{"a":1,"a":2}}""", "invalid_argument", "#/metadata" },
        { """{"userId":"USER","actionType":"send_email","metadata":{"b":[{"a":"\u0000"}]}}""", "invalid_argument", "#/metadata" },
        { """{"userId":"USER","actionType":"send_email","metadata":{"\u0000":1}}""", "invalid_argument", "#/metadata" },
        { """{"userId":"USER","actionType":"send_email","metadata":{"a":"\ud800"}}""", "invalid_argument", "#/metadata" },
        { """{"userId":"USER","actionType":"send_email","metadata":{"a":1e999999}}""", "invalid_argument", "#/metadata" },
        { """{"userId":"USER","actionType":"send_email","metadata":{"a":1e-16384}}""", "invalid_argument", "#/metadata" },
        { """{"userId":"USER","actionType":"send_email","metadata":{"a":[1e99999999999999999999]}}""", "invalid_argument", "#/metadata" },
        { """{"userId":"USER","actionType":"send_email","metadata":{"a":1e131071}}""", "invalid_argument", "#/metadata" },
        { """{"userId":"USER","actionType":"send_email","metadata":{"a":"LONG"}}""", "invalid_argument", "#/metadata" },
        { """{"userId":"USER","actionType":"send_email","metadata":DEEP}""", "malformed_json", "#/metadata" },
        { """{"userId":"","actionType":"send_email"}""", "invalid_argument", "#/userId" },
        { """{"userId":null,"actionType":"send_email"}""", "user_required", "#/userId" },
        { """{"userId":"00000000-0000-0000-0000-000000000000","actionType":"send_email"}""", "user_required", "#/userId" },
        { """{"userId":"USER","actionType":"send_email",}""", "malformed_json", "" },
        { "[]", "malformed_json", "" },
        { "null", "malformed_request", "" },
        { "7", "malformed_json", "" },
        { "{", "malformed_json", "" },
    };

    [Theory]
    [MemberData(nameof(Deductions))]
    public async Task A_malformed_charge_is_refused_by_name(string json, string code, string field)
    {
        var user = await host.Database.Account(100);
        var before = await host.Database.Snapshot(user);
        var text = json.Replace("USER", user.ToString(), StringComparison.Ordinal).Replace("LONG", new string('x', 17_000), StringComparison.Ordinal)
            .Replace("DEEP", string.Concat(Enumerable.Repeat("{\"a\":", 70)) + "1" + new string('}', 70), StringComparison.Ordinal);
        var problem = await Send(host.Service, text).ProblemAsync(400, code);
        Assert.Equal(field, problem.TryGetProperty("errors", out var errors) ? errors[0].Text("pointer") : "");
        Assert.Equal(before, await host.Database.Snapshot(user));
    }

    [Theory]
    [InlineData("\"actionType\":\"send_email\",\"metadata\":{\"a\":[\"\\u0000\"]}", "metadata")]
    [InlineData("\"actionType\":\"send_email\",\"metadata\":{\"a\\u0000\":1}", "metadata")]
    [InlineData("\"actionType\":\"send_email\",\"metadata\":{\"a\":1e999999}", "metadata")]
    [InlineData("\"actionType\":\"a\\u0000b\"", "actionType")]
    [InlineData("\"actionType\":\"send_email\",\"idempotencyKey\":\"\\u0000\"", "idempotencyKey")]
    public async Task What_cannot_be_stored_names_its_item_of_a_batch(string fields, string field)
    {
        var user = await host.Database.Account(100);
        var good = $$"""{"userId":"{{user}}","actionType":"send_email"}""";
        var body = $$"""{"items":[{{good}},{{good}},{{good}},{"userId":"{{user}}",{{fields}}},{{good}}]}""";
        var problem = await host.Service.Send(HttpMethod.Post, "/api/credits/deduct/batch", new StringContent(body, Encoding.UTF8, "application/json")).ProblemAsync(400, "invalid_argument");
        Assert.Equal("#/items/3/" + field, problem.GetProperty("errors")[0].Text("pointer"));
        Assert.Equal(100, await host.Database.Balance(user));
    }

    [Fact]
    public async Task A_NUL_character_is_refused_by_name_wherever_text_is_taken()
    {
        var user = await host.Database.Account(100);
        async Task Body(HttpClient client, HttpMethod method, string path, string body, string field)
        {
            var problem = await client.Send(method, path, new StringContent(body.Replace("USER", user.ToString(), StringComparison.Ordinal), Encoding.UTF8, "application/json")).ProblemAsync(400, "invalid_argument");
            Assert.Equal("#/" + field, problem.GetProperty("errors")[0].Text("pointer"));
        }

        await Body(host.Service, HttpMethod.Post, "/api/credits/track", """{"userId":"USER","operation":"send_email","usage":{"success":true,"service":"a\u0000"}}""", "usage/service");
        await Body(host.Service, HttpMethod.Post, "/api/credits/refunds", """{"userId":"USER","logId":1,"reason":"\u0000"}""", "reason");
        await Body(host.Service, HttpMethod.Post, "/api/accounts", """{"userId":"USER","timeZone":"UTC\u0000"}""", "timeZone");
        await Body(host.Service, HttpMethod.Post, "/api/tokens", """{"userId":"USER","scopes":["spend","spend:\u0000"]}""", "scopes/1");
        await Body(host.Admin, HttpMethod.Post, "/api/admin/keys", """{"name":"\u0000","scopes":["service"]}""", "name");
        await Body(host.Admin, HttpMethod.Put, "/api/admin/costs/fly", """{"costPerUnit":1,"actionName":"\u0000"}""", "actionName");
        await Body(host.Admin, HttpMethod.Post, "/api/admin/webhooks", """{"url":"https://a.example/\u0000"}""", "url");
        foreach (var path in new[] { $"/api/credits/balance?userId={user}&creditType=%00", $"/api/usage/logs?userId={user}&creditType=a%00b", $"/api/usage/logs.csv?userId={user}&creditType=%00" })
            Assert.Equal("#/creditType", (await host.Service.Get(path).ProblemAsync(400, "invalid_argument")).GetProperty("errors")[0].Text("pointer"));
        Assert.Equal("#/actionType", (await host.Service.Get($"/api/usage/features?userId={user}&actionType=%00").ProblemAsync(400, "invalid_argument")).GetProperty("errors")[0].Text("pointer"));
    }

    [Theory]
    [InlineData("yesterday", "malformed_request", "2026-01-31T12:00:00Z")]
    [InlineData("2026-13-01T00:00:00Z", "malformed_request", "2026-01-31T12:00:00Z")]
    [InlineData("2026-01-01T00:00:00+01:00", "malformed_request", "%2B")]
    [InlineData("", "malformed_request", "2026-01-31T12:00:00Z")]
    [InlineData("2026-01-01T00:00:00Z&at=2026-01-01T00:00:00Z", "malformed_request", "twice")]
    [InlineData("2999-01-01T00:00:00Z", "invalid_argument", "at: must not be in the future")]
    [InlineData("9999-12-31T23:59:59.9999999Z", "invalid_argument", "at: must")]
    [InlineData("0001-01-01T00:00:00Z", "invalid_argument", "at: must be a moment")]
    public async Task A_moment_of_a_balance_that_is_none_is_named(string at, string code, string says)
    {
        var user = await host.Database.Account(10);
        var problem = await host.Admin.Get($"/api/admin/accounts/{user}/balance?at={at}").ProblemAsync(400, code);
        Assert.Equal("#/at", problem.GetProperty("errors")[0].Text("pointer"));
        Assert.Contains(says, problem.Text("detail"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_moment_before_the_account_is_one_without_entries()
    {
        var user = await host.Database.Account(10);
        foreach (var at in new[] { "2001-01-01T00:00:00Z", "2001-01-01T00:00:00%2B05:30", "0001-01-02T00:00:00Z" })
        {
            var then = await host.Admin.Get($"/api/admin/accounts/{user}/balance?at={at}").JsonAsync();
            Assert.Equal((0, 0, ""), (then.Number("balance"), then.Number("entryNo"), then.Text("entryAt")));
        }

        await host.Admin.Get($"/api/admin/accounts/{user}/balance").ProblemAsync(400, "malformed_request");
        await host.Admin.Get($"/api/admin/accounts/{Guid.NewGuid()}/balance?at=2001-01-01T00:00:00Z").ProblemAsync(404, "unknown_account");
    }

    [Fact]
    public async Task A_users_token_has_little_metadata_kept_and_a_service_more()
    {
        var user = await host.Database.Account(100);
        using var person = await host.UserAsync(user, "spend");
        string Text(int length) => new('é', length / 2);
        object Charge(int length, Guid? who = null) => new { userId = who, actionType = "send_email", metadata = new { a = Text(length) } };
        async Task Refused(string path, object body, string field)
        {
            var problem = await person.Post(path, body).ProblemAsync(400, "invalid_argument");
            Assert.Equal(("#/" + field, true), (problem.GetProperty("errors")[0].Text("pointer"), problem.Text("detail").Contains("4096 bytes", StringComparison.Ordinal)));
        }

        await Refused("/api/credits/deduct", Charge(4200), "metadata");
        await Refused("/api/credits/reservations", Charge(4200), "metadata");
        await Refused("/api/credits/track", new { operation = "send_email", usage = new { success = true, metadata = new { a = Text(4200) } } }, "usage");
        await Refused("/api/credits/track", new { operation = "send_email", usage = new { success = true, service = Text(4200) } }, "usage");
        await Refused("/api/credits/deduct/batch", new { items = new[] { Charge(1500), Charge(1500), Charge(1500) } }, "items/2/metadata");
        Assert.Equal(100, await host.Database.Balance(user));
        await person.Post("/api/credits/deduct", Charge(4000)).JsonAsync();
        await host.Service.Post("/api/credits/deduct", Charge(16000, user)).JsonAsync();

        await using var open = host.Configured([("Access:UserMetadataBytes", "16384")]);
        using var client = open.CreateClient();
        client.DefaultRequestHeaders.Authorization = person.DefaultRequestHeaders.Authorization;
        await client.Post("/api/credits/deduct", Charge(16000)).JsonAsync();
        await using var closed = host.Configured([("Access:UserMetadataBytes", "0")]);
        using var none = closed.CreateClient();
        none.DefaultRequestHeaders.Authorization = person.DefaultRequestHeaders.Authorization;
        await none.Post("/api/credits/deduct", Charge(10)).ProblemAsync(400, "invalid_argument");
        await none.Post("/api/credits/deduct", new { actionType = "send_email" }).JsonAsync();
    }

    [Theory]
    [InlineData("1.50000000000000000000000000000000000", 1.5)]
    [InlineData("15e-1", 1.5)]
    [InlineData("0.000001e6", 1)]
    [InlineData("1E+1", 10)]
    public async Task A_number_is_the_same_however_it_is_written(string number, double quantity)
    {
        var user = await host.Database.Account(100);
        await Send(host.Service, $$"""{"userId":"{{user}}","actionType":"agent_call_runtime","quantity":{{number}}}""").JsonAsync();
        Assert.Equal(100 - (decimal)quantity, await host.Database.Balance(user));
    }

    [Theory]
    [InlineData("ü")]
    [InlineData("a\u0001b")]
    public async Task A_malformed_key_is_refused_on_every_write(string key)
    {
        var user = await host.Database.Account(100);
        await host.Service.Post("/api/credits/deduct", new { userId = user, actionType = "send_email" }, key).ProblemAsync(400, "invalid_idempotency_key");
        await host.Service.Post("/api/accounts", new { userId = user }, key).ProblemAsync(400, "invalid_idempotency_key");
        await host.Admin.Post($"/api/admin/accounts/{user}/suspend", new { }, key).ProblemAsync(400, "invalid_idempotency_key");
        Assert.Equal(100, await host.Database.Balance(user));
    }

    [Fact]
    public async Task A_key_has_up_to_255_characters_and_is_there_once()
    {
        var user = await host.Database.Account(100);
        await host.Service.Post("/api/credits/deduct", new { userId = user, actionType = "send_email" }, "a b" + new string('~', 252)).JsonAsync();
        await host.Service.Post("/api/credits/deduct", new { userId = user, actionType = "send_email" }, new string('~', 256)).ProblemAsync(400, "invalid_idempotency_key");
        await host.Service.Send(HttpMethod.Post, "/api/credits/deduct", System.Net.Http.Json.JsonContent.Create(new { userId = user, actionType = "send_email" }), ("Idempotency-Key", "a"), ("Idempotency-Key", "b"))
            .ProblemAsync(400, "invalid_idempotency_key");
    }

    [Fact]
    public async Task A_body_that_is_missing_of_another_type_or_not_utf8_is_refused()
    {
        await host.Service.Send(HttpMethod.Post, "/api/credits/deduct").ProblemAsync(400, "malformed_json");
        await host.Service.Send(HttpMethod.Post, "/api/credits/deduct", new StringContent("{}", Encoding.UTF8, "text/xml")).ProblemAsync(415, "unsupported_media_type");
        var bytes = new ByteArrayContent([.. "{\"actionType\":\""u8, 0xff, .. "\"}"u8]);
        bytes.Headers.ContentType = new MediaTypeHeaderValue("application/json");
        await host.Service.Send(HttpMethod.Post, "/api/credits/deduct", bytes).ProblemAsync(400, "malformed_json");
        await host.Service.Send(HttpMethod.Patch, "/api/credits/deduct", new StringContent("{}")).ProblemAsync(405, "method_not_allowed");
        await host.Service.Post("/api/credits/reservations/17/commit", new { }).ProblemAsync(404, "no_such_endpoint");
    }

    [Fact]
    public async Task Production_says_what_is_wrong_too()
    {
        await using var production = host.Configured([("environment", "Production")]);
        using var client = production.CreateClient();
        client.DefaultRequestHeaders.Authorization = host.Service.DefaultRequestHeaders.Authorization;
        var problem = await Send(client, """{"actionType":"send_email","qty":2}""").ProblemAsync(400, "malformed_json");
        Assert.Equal("#/qty", problem.GetProperty("errors")[0].Text("pointer"));
        Assert.Contains("userId", (await client.Get("/api/credits/balance?userId=x").ProblemAsync(400, "malformed_request")).Text("detail"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_body_above_1_MB_is_refused()
    {
        await using var factory = host.Configured([("Urls", "http://127.0.0.1:0")]);
        factory.UseKestrel();
        factory.StartServer();
        using var client = factory.CreateClient();
        client.DefaultRequestHeaders.Authorization = host.Service.DefaultRequestHeaders.Authorization;
        client.DefaultRequestHeaders.ExpectContinue = true;
        await Send(client, $$"""{"actionType":"{{new string('x', 1_100_000)}}"}""").ProblemAsync(413, "body_too_large");
    }

    [Fact]
    public async Task Nothing_random_fails()
    {
        var user = await host.Database.Account(1_000);
        var random = new Random(7);
        string[] values = ["null", "true", "-1", "0", "1", "1e30", "0.0000001", "\"\"", "\"x\"", "[]", "{}", "{\"a\":[1,{}]}", "\"\\u0000\"", $"\"{user}\"", "\"send_email\"", "\"2026-01-01T00:00:00Z\"", "2147483648", "9223372036854775808"];
        (HttpClient, string, string[])[] endpoints =
        [
            (host.Service, "/api/credits/check", ["userId", "actionType", "quantity"]),
            (host.Service, "/api/credits/deduct", ["userId", "actionType", "quantity", "referenceId", "metadata"]),
            (host.Service, "/api/credits/deduct/batch", ["items"]),
            (host.Service, "/api/credits/track", ["userId", "operation", "usage"]),
            (host.Service, "/api/credits/refunds", ["userId", "logId", "amount", "reason", "creditType"]),
            (host.Service, "/api/credits/reservations", ["userId", "actionType", "quantity", "ttlSeconds", "metadata"]),
            (host.Service, $"/api/credits/reservations/{Guid.NewGuid()}/commit", ["userId", "quantity", "metadata"]),
            (host.Service, "/api/chat/messages", ["userId"]),
            (host.Service, "/api/chat/sessions", ["userId", "sessionId", "freeSeconds"]),
            (host.Service, $"/api/chat/sessions/{Guid.NewGuid()}/time", ["userId", "elapsedSeconds"]),
            (host.Service, "/api/accounts", ["userId", "planId", "timeZone"]),
            (host.Service, "/api/tokens", ["userId", "scopes", "minutes"]),
            (host.Admin, $"/api/admin/accounts/{user}/grants", ["amount", "source", "expiresAt", "priority", "reference", "metadata", "creditType"]),
            (host.Admin, $"/api/admin/accounts/{user}/adjustments", ["amount", "reason", "creditType"]),
            (host.Admin, $"/api/admin/accounts/{user}/resets/rollback", ["periodStart", "reason", "creditType"]),
        ];
        for (var n = 0; n < 600; n++)
        {
            var (client, path, fields) = endpoints[random.Next(endpoints.Length)];
            var body = "{" + string.Join(',', fields.Where(_ => random.Next(4) > 0).Select(f =>
                $"\"{f}\":{(f == "userId" && random.Next(4) > 0 ? $"\"{user}\"" : f == "actionType" && random.Next(2) > 0 ? "\"send_email\"" : values[random.Next(values.Length)])}")) + "}";
            using var answer = await client.Send(HttpMethod.Post, path, new StringContent(body, Encoding.UTF8, "application/json"));
            Assert.True((int)answer.StatusCode < 500, $"{path} {body}: {await answer.Content.ReadAsStringAsync(TestContext.Current.CancellationToken)}");
        }
    }

    private static Task<HttpResponseMessage> Send(HttpClient client, string json) =>
        client.Send(HttpMethod.Post, "/api/credits/deduct", new StringContent(json, Encoding.UTF8, "application/json"));
}

using System.Net.Http.Headers;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;

namespace CreditDb.Tests.Api;

/// <summary>Keys and tokens: who is let in, as whom, and how that ends.</summary>
public sealed class AccessTests(ApiHost host) : IClassFixture<ApiHost>
{
    [Fact]
    public async Task A_service_charges_any_user_and_the_entry_names_its_key()
    {
        var user = await host.Database.Account(10);
        var charge = await host.Service.Post("/api/credits/deduct", new { userId = user, actionType = "create_agent" }).JsonAsync();
        Assert.Equal((5, 5), (charge.Number("creditsDeducted"), charge.Number("balanceAfter")));
        Assert.Equal(5, (await host.Service.Get($"/api/credits/balance?userId={user}").JsonAsync()).Number("total"));
        var key = host.Service.DefaultRequestHeaders.Authorization!.Parameter!.Split('_')[1];
        Assert.Equal(key, await host.Database.Value<string>("select actor from credits.credit_ledger where user_id = $1 and kind = 'usage'", user));
    }

    [Fact]
    public async Task Without_a_credential_or_with_a_wrong_one_nobody_is_let_in()
    {
        await host.Anonymous().Get("/api/credits/balance").ProblemAsync(401, "unauthenticated");
        var good = host.Service.DefaultRequestHeaders.Authorization!.Parameter!;
        foreach (var wrong in new[] { "x", "cdb_", good[..^1], good[..^1] + (good[^1] == 'a' ? 'b' : 'a'), "cdb_aaaaaaaaaaaa_" + good[^52..], "cdbu_CfDJ8", new string('a', 8000) })
        {
            var client = host.Anonymous();
            client.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", wrong);
            await client.Get("/api/credits/balance").ProblemAsync(401, "unauthenticated");
        }
    }

    [Fact]
    public async Task A_token_reads_its_own_user_only_and_spends_only_what_it_may()
    {
        var (me, other) = (await host.Database.Account(10), await host.Database.Account(10));
        using var reader = await host.UserAsync(me);
        Assert.Equal(10, (await reader.Get("/api/credits/balance").JsonAsync()).Number("total"));
        Assert.Equal(10, (await reader.Get($"/api/credits/balance?userId={me}").JsonAsync()).Number("total"));
        await reader.Get($"/api/credits/balance?userId={other}").ProblemAsync(403, "another_user");
        await reader.Post("/api/credits/deduct", new { actionType = "send_email" }).ProblemAsync(403, "forbidden");
        await reader.Post("/api/tokens", new { userId = me, scopes = new[] { "spend" } }).ProblemAsync(403, "forbidden");
        await reader.Get("/api/admin/keys").ProblemAsync(403, "forbidden");

        using var mailer = await host.UserAsync(me, "spend:send_email");
        Assert.Equal(9.5m, (await mailer.Post("/api/credits/deduct", new { actionType = "send_email" }).JsonAsync()).Number("balanceAfter"));
        await mailer.Post("/api/credits/deduct", new { actionType = "create_agent" }).ProblemAsync(403, "scope_missing");
        await mailer.Post("/api/credits/deduct", new { userId = other, actionType = "send_email" }).ProblemAsync(403, "another_user");
        Assert.Equal((9.5m, 10m), (await host.Database.Balance(me), await host.Database.Balance(other)));
    }

    [Fact]
    public async Task A_key_that_is_revoked_ends_and_so_do_its_tokens()
    {
        var user = await host.Database.Account(1);
        var made = await host.Admin.Post("/api/admin/keys", new { name = "for a while", scopes = new[] { "service" } }).JsonAsync(201);
        var service = host.Anonymous();
        service.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", made.Text("key"));
        var minted = await service.Post("/api/tokens", new { userId = user }).JsonAsync();
        var person = host.Anonymous();
        person.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", minted.Text("token"));
        await person.Get("/api/credits/balance").JsonAsync();
        await host.Admin.Post("/api/admin/keys", new { name = "for a while", scopes = new[] { "service" } }).ProblemAsync(409, "name_taken");

        await host.Admin.Delete($"/api/admin/keys/{made.Text("keyId")}").JsonAsync();

        await service.Get($"/api/credits/balance?userId={user}").ProblemAsync(401, "unauthenticated");
        await person.Get("/api/credits/balance").ProblemAsync(401, "unauthenticated");
        var listed = (await host.Admin.Get("/api/admin/keys").JsonAsync()).EnumerateArray().Single(k => k.Text("keyName") == "for a while");
        Assert.NotEqual("", listed.Text("revokedAt"));
        Assert.DoesNotContain(made.Text("key")[17..], listed.GetRawText(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Hosts_share_the_keys_that_sign_tokens()
    {
        var user = await host.Database.Account(3);
        var token = (await host.Service.Post("/api/tokens", new { userId = user, minutes = 1 }).JsonAsync()).Text("token");
        await using var other = host.Configured([]);
        var person = other.CreateClient();
        person.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", token);
        Assert.Equal(3, (await person.Get("/api/credits/balance").JsonAsync()).Number("total"));
    }

    [Fact]
    public async Task Too_many_requests_are_told_when_to_try_again()
    {
        var user = await host.Database.Account(3);
        await using var slow = host.Configured([("Access:UserRequestsPerSecond", "1")]);
        var person = slow.CreateClient();
        person.DefaultRequestHeaders.Authorization = (await host.UserAsync(user)).DefaultRequestHeaders.Authorization;
        await person.Get("/api/credits/balance").JsonAsync();
        await person.Get("/api/credits/balance").JsonAsync();
        var refused = await person.Get("/api/credits/balance");
        await Task.FromResult(refused).ProblemAsync(429, "too_many_requests");
        Assert.True(refused.Headers.RetryAfter?.Delta >= TimeSpan.FromSeconds(1));
    }

    [Fact]
    public async Task A_wrong_setting_stops_the_host_and_is_named()
    {
        var (exitCode, _, error) = await HostProcess.RunAsync(["--Access:TokenMinutes=0"], environment: new Dictionary<string, string?> { ["ConnectionStrings__CreditDb"] = host.Database.ConnectionString });
        Assert.Equal(1, exitCode);
        Assert.Contains("TokenMinutes", error, StringComparison.Ordinal);
        (exitCode, _, error) = await HostProcess.RunAsync(["--nonsense"]);
        Assert.Equal(2, exitCode);
        Assert.Contains("--nonsense", error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_users_keys_and_a_services_are_two_sets_also_for_purchases()
    {
        var user = await host.Database.Account(10);
        await using var selling = host.Configured([("Payments:Provider", "sandbox")]);
        using var person = selling.CreateClient();
        person.DefaultRequestHeaders.Authorization = (await host.UserAsync(user)).DefaultRequestHeaders.Authorization;
        await person.Post("/api/credits/purchase", new { packageId = "starter" }, "job 9").JsonAsync(201);
        Assert.Equal(5, (await host.Service.Post("/api/credits/deduct", new { userId = user, actionType = "create_agent" }, "job 9").JsonAsync()).Number("balanceAfter"));
        await host.Service.Post("/api/credits/deduct", new { userId = user, actionType = "create_agent" }, "user:job 9").ProblemAsync(400, "invalid_idempotency_key");
        foreach (var name in new[] { "..", "a..b", "127.0.0.1:99999" })
        {
            var odd = await person.Send(HttpMethod.Post, "/api/credits/purchase", System.Net.Http.Json.JsonContent.Create(new { packageId = "starter" }), ("Idempotency-Key", "odd " + name), ("Host", name));
            await Task.FromResult(odd).ProblemAsync(400, "malformed_request");
        }
    }

    [Fact]
    public async Task Odd_requests_are_refused_by_name()
    {
        var user = await host.Database.Account(10);
        await host.Admin.Post("/api/admin/keys", new { name = "for ever", scopes = new[] { "service" }, expiresAt = "9999-12-31T23:59:59.9999999Z" }).ProblemAsync(400, "invalid_argument");
        await host.Service.Post("/api/tokens", new { userId = user, scopes = new string?[] { null } }).ProblemAsync(400, "invalid_argument");
        foreach (var charset in new[] { "bogus", "utf-7", "utf-16" })
        {
            var content = new StringContent("{}");
            content.Headers.Remove("Content-Type");
            content.Headers.TryAddWithoutValidation("Content-Type", $"application/json; charset={charset}");
            await host.Service.Send(HttpMethod.Post, "/api/credits/deduct", content).ProblemAsync(415, "unsupported_media_type");
        }

        foreach (var url in new[] { "https://a..b/a", "https://[:::::]/", "http://127.0.0.1:99999/" })
            await host.Admin.Post("/api/admin/webhooks", new { url }).ProblemAsync(400, "invalid_argument");
    }

    [Fact]
    public async Task Who_guesses_keys_is_slowed_down_and_keys_that_were_right_before_are_not()
    {
        await using var fresh = host.Configured([("Access:AnonymousRequestsPerSecond", "1000000")]);
        using var guesser = fresh.CreateClient();
        var statuses = new List<int>();
        for (var n = 0; n < 150; n++)
        {
            guesser.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", CreditDb.Host.Access.ApiKey.New().Reveal());
            statuses.Add((int)(await guesser.Get("/api/credits/balance")).StatusCode);
        }

        Assert.Equal([401, 429], statuses.Distinct().Order());
        await host.Service.Get($"/api/credits/balance?userId={await host.Database.Account(1)}").JsonAsync();
    }

    [Fact]
    public async Task A_host_that_just_started_asks_once_about_the_key_of_all_who_come_at_once()
    {
        var ct = TestContext.Current.CancellationToken;
        var id = CreditDb.Host.Access.ApiKey.Parse(await host.KeyAsync(["service"]))!.Id;
        using var keys = new CreditDb.Host.Access.ApiKeys(new SqlCaller(host.Database.Source, null, null));
        await using var slow = await host.Database.Source.OpenConnectionAsync(ct);
        await using var transaction = await slow.BeginTransactionAsync(ct);
        await slow.Run("lock table credits.api_keys in access exclusive mode");
        var answers = Enumerable.Range(0, 300).Select(_ => keys.FindAsync(id, "::1", ct).AsTask()).ToList();
        await transaction.CommitAsync(ct);
        Assert.All(await Task.WhenAll(answers), Assert.NotNull);
    }

    [Fact]
    public async Task What_was_asked_before_a_key_was_revoked_does_not_bring_it_back()
    {
        var ct = TestContext.Current.CancellationToken;
        var id = CreditDb.Host.Access.ApiKey.Parse(await host.KeyAsync(["user"], await host.Database.Account(1)))!.Id;
        using var keys = new CreditDb.Host.Access.ApiKeys(new SqlCaller(host.Database.Source, null, null));
        await using var slow = await host.Database.Source.OpenConnectionAsync(ct);
        await using var transaction = await slow.BeginTransactionAsync(ct);
        // The question sees the key as it was when it began, and waits for the account.
        await slow.Run("lock table credits.accounts in access exclusive mode");
        var before = keys.FindAsync(id, null, ct).AsTask();
        await Eventually.TrueAsync(() => Sees("select exists (select from pg_locks where relation = 'credits.accounts'::regclass and not granted)"), "the question does not wait");
        var revoked = keys.RevokeAsync(id, "test", ct);
        await Eventually.TrueAsync(() => Sees($"select revoked_at is not null from credits.api_keys where key_id = '{id}'"), "the key is not revoked");
        await transaction.CommitAsync(ct);
        Assert.NotNull(await before);
        await revoked;
        Assert.Null(await keys.FindAsync(id, null, ct));

        Task<bool> Sees(string sql) => host.Database.Value<bool>(sql);
    }

    [Fact]
    public void Every_endpoint_says_who_may_call_it() => Assert.Equal([], host.Services.GetRequiredService<EndpointDataSource>().Endpoints.OfType<RouteEndpoint>()
        .Where(e => e.Metadata.GetMetadata<IAuthorizeData>()?.Policy is null && e.Metadata.GetMetadata<IAllowAnonymous>() is null)
        .Select(e => e.RoutePattern.RawText));

    [Fact]
    public async Task Errors_are_problem_documents_that_name_the_field()
    {
        var user = await host.Database.Account(1);
        var short_ = await host.Service.Post("/api/credits/deduct", new { userId = user, actionType = "create_agent" }).ProblemAsync(402, "insufficient_credits");
        Assert.Equal((5, 1), (short_.Number("required"), short_.Number("available")));
        var bad = await host.Service.Post("/api/credits/deduct", new { userId = user, actionType = "create_agent", quantity = -1 }).ProblemAsync(400, "invalid_argument");
        Assert.Equal("#/quantity", bad.GetProperty("errors")[0].Text("pointer"));
        await host.Service.Post("/api/credits/deduct", new { userId = Guid.NewGuid(), actionType = "create_agent" }).ProblemAsync(404, "unknown_account");
        await host.Service.Post("/api/credits/deduct", new { actionType = "create_agent" }).ProblemAsync(400, "user_required");
        await host.Service.Post("/api/credits/deduct", new { userId = "x", actionType = "create_agent" }).ProblemAsync(400, "invalid_argument");
        await host.Service.Send(HttpMethod.Post, "/api/credits/deduct", new StringContent("{")).ProblemAsync(415, "unsupported_media_type");
        await host.Service.Get("/api/nothing").ProblemAsync(404, "no_such_endpoint");
        await host.Service.Post("/api/credits/deduct", new { userId = user, actionType = "send_email" }, "k").JsonAsync();
        await host.Service.Post("/api/credits/deduct", new { userId = user, actionType = "create_agent" }, "k").ProblemAsync(422, "key_reused");
        Assert.Equal(0.5m, await host.Database.Balance(user));
    }
}

using System.Text.RegularExpressions;
using CreditDb.Host.Payments;
using CreditDb.Tests.Api;
using Microsoft.AspNetCore.Mvc.Testing;
using Microsoft.Extensions.DependencyInjection;

namespace CreditDb.Tests.Payments;

/// <summary>The sandbox: a page that says pay or cancel, and all the rest as with real money.</summary>
public sealed partial class SandboxTests(ApiHost host) : IClassFixture<ApiHost>, IAsyncLifetime
{
    private WebApplicationFactory<Program> _shop = null!;
    private HttpClient _browser = null!;

    public ValueTask InitializeAsync()
    {
        _shop = host.Configured([("Payments:Provider", "sandbox"), ("Payments:TopUpSeconds", "3600")]);
        _browser = _shop.CreateClient(new WebApplicationFactoryClientOptions { AllowAutoRedirect = false });
        return ValueTask.CompletedTask;
    }

    public ValueTask DisposeAsync() => _shop.DisposeAsync();

    [Fact]
    public async Task The_page_says_what_is_bought_and_Pay_brings_the_credits_once()
    {
        var (user, page) = await Bought("starter");
        var html = await Page(page);
        Assert.Contains("<h1>Starter</h1>", html, StringComparison.Ordinal);
        Assert.Contains("5.00 USD", html, StringComparison.Ordinal);
        Assert.Contains("lang=\"en\"", html, StringComparison.Ordinal);
        var actions = Actions().Matches(html).Select(m => m.Groups[1].Value).ToList();
        Assert.Equal([page + "/pay", page + "/cancel"], actions);

        var paid = await Task.WhenAll(Enumerable.Range(0, 8).Select(_ => _browser.Send(HttpMethod.Post, actions[0])));
        Assert.All(paid, answer => Assert.Equal((303, page), ((int)answer.StatusCode, answer.Headers.Location!.OriginalString)));
        Assert.Equal(100, await host.Database.Balance(user));
        Assert.Contains("Paid: 100 credits were added", await Page(page), StringComparison.Ordinal);
        await _browser.Send(HttpMethod.Post, actions[1]);
        Assert.Equal("paid", await host.Database.Value<string>("select status from credits.credit_purchases where user_id = $1", user));
    }

    [Fact]
    public async Task Cancel_ends_the_purchase_and_nothing_is_paid()
    {
        var (user, page) = await Bought("starter");
        Assert.Equal(303, (int)(await _browser.Send(HttpMethod.Post, page + "/cancel")).StatusCode);
        Assert.Contains("was cancelled", await Page(page), StringComparison.Ordinal);
        await _browser.Send(HttpMethod.Post, page + "/pay");
        Assert.Equal(("failed cancelled", 0m), (await host.Database.Value<string>("select status || ' ' || failure_reason from credits.credit_purchases where user_id = $1", user), await host.Database.Balance(user)));
    }

    [Fact]
    public async Task The_browser_goes_back_to_the_application_if_that_is_configured()
    {
        await using var shop = host.Configured([("Payments:Provider", "sandbox"), ("Payments:ReturnUrl", "https://app.example/credits")]);
        var (_, page) = await Bought("starter");
        var browser = shop.CreateClient(new WebApplicationFactoryClientOptions { AllowAutoRedirect = false });
        Assert.Matches("^https://app.example/credits\\?purchase=[0-9a-f-]{36}&result=paid$", (await browser.Send(HttpMethod.Post, page + "/pay")).Headers.Location!.OriginalString);
    }

    [Fact]
    public async Task An_address_that_was_guessed_is_none()
    {
        var (user, page) = await Bought("starter");
        var token = page["/sandbox/pay/".Length..];
        foreach (var wrong in new[] { token[..^1] + (token[^1] == 'A' ? 'Q' : 'A'), token[..^4], "x", new string('A', 64), new string('!', 64), token + "A" })
        {
            await _browser.Get("/sandbox/pay/" + wrong).ProblemAsync(404, "not_found");
            await _browser.Send(HttpMethod.Post, $"/sandbox/pay/{wrong}/pay").ProblemAsync(404, "not_found");
        }

        Assert.Equal(0, await host.Database.Balance(user));
        // A host that sells otherwise, or not at all, has no such page.
        await host.Anonymous().Get(page).ProblemAsync(404, "no_such_endpoint");
    }

    [Fact]
    public async Task Names_are_shown_as_text_and_the_page_loads_nothing()
    {
        await host.Database.Run("select credits.set_package('odd', 1234.5, 1234567, 'JPY', '<script>alert(1)</script> & co')");
        var (_, page) = await Bought("odd");
        var response = await _browser.Get(page);
        var html = await response.Content.ReadAsStringAsync(TestContext.Current.CancellationToken);
        Assert.DoesNotContain("<script", html, StringComparison.Ordinal);
        Assert.Contains("&lt;script&gt;", html, StringComparison.Ordinal);
        Assert.Contains("1,234,567 JPY", html, StringComparison.Ordinal);
        Assert.Contains("1,234.5", html, StringComparison.Ordinal);
        Assert.Contains("default-src 'none'", response.Headers.GetValues("Content-Security-Policy").Single(), StringComparison.Ordinal);
        Assert.Equal(("no-store", "no-referrer"), (response.Headers.CacheControl!.ToString(), response.Headers.GetValues("Referrer-Policy").Single()));
    }

    [Fact]
    public async Task Refunds_and_automatic_top_up_work_as_with_real_money()
    {
        var (user, page) = await Bought("starter", save: true);
        await _browser.Send(HttpMethod.Post, page + "/pay");
        var purchase = await host.Database.Value<Guid>("select purchase_id from credits.credit_purchases where user_id = $1", user);
        var admin = Shop(host.Admin);
        for (var i = 0; i < 2; i++)
            await admin.Post($"/api/admin/purchases/{purchase}/refund", new { userId = user, amountMinor = 200 }, "first").JsonAsync();
        Assert.Equal(60, await host.Database.Balance(user));
        await admin.Post($"/api/admin/purchases/{purchase}/refund", new { userId = user, amountMinor = 301 }, "more").ProblemAsync(409, "payment_refused");
        await admin.Post($"/api/admin/purchases/{purchase}/refund", new { userId = user }, "rest").JsonAsync();
        Assert.Equal(0, await host.Database.Balance(user));

        var set = await Shop(host.Service).Put("/api/credits/top-up", new { userId = user, isOn = true, threshold = 5, packageId = "starter", monthlyCapMinor = 500 }).JsonAsync();
        Assert.Equal("on", set.Text("status"));
        var service = _shop.Services.GetRequiredService<TopUpService>();
        Assert.Equal(1, await service.RunOnceAsync(TestContext.Current.CancellationToken));
        Assert.Equal(100, await host.Database.Balance(user));
        Assert.Equal("cap_reached", (await Shop(host.Service).Get($"/api/credits/top-up?userId={user}").JsonAsync()).Text("status"));
    }

    [Fact]
    public async Task Refunds_at_once_add_up_to_the_price_and_each_answer_is_true()
    {
        var (user, page) = await Bought("starter");
        await _browser.Send(HttpMethod.Post, page + "/pay");
        var path = $"/api/admin/purchases/{await host.Database.Value<Guid>("select purchase_id from credits.credit_purchases where user_id = $1", user)}/refund";
        var admin = Shop(host.Admin);
        // Eight keys, each sent twice: of 500 five of 100 can be refunded.
        var answers = await Task.WhenAll(Enumerable.Range(0, 16).Select(i => admin.Post(path, new { userId = user, amountMinor = 100 }, $"key {i / 2}")));
        var answered = answers.Select((a, i) => (Key: i / 2, Status: (int)a.StatusCode)).Distinct().ToList();
        Assert.Equal((5, 3), (answered.Count(a => a.Status == 200), answered.Count(a => a.Status == 409)));
        Assert.Equal(("refunded 500", 5L), (await host.Database.Value<string>("select status || ' ' || refunded_minor from credits.credit_purchases where user_id = $1", user),
            await host.Database.Value<long>("select count(*) from credits.credit_purchase_refunds where user_id = $1", user)));
        Assert.Equal(0, await host.Database.Balance(user));
        var (done, refused) = ($"key {answered.First(a => a.Status == 200).Key}", $"key {answered.First(a => a.Status == 409).Key}");
        await admin.Post(path, new { userId = user, amountMinor = 100 }, done).JsonAsync();
        await admin.Post(path, new { userId = user, amountMinor = 200 }, done).ProblemAsync(409, "refund_reference_used");
        await admin.Post(path, new { userId = user, amountMinor = 100 }, refused).ProblemAsync(409, "payment_refused");
        await admin.Post(path, new { userId = user, amountMinor = 0 }, "none").ProblemAsync(400, "invalid_argument");
    }

    private HttpClient Shop(HttpClient caller)
    {
        var client = _shop.CreateClient();
        client.DefaultRequestHeaders.Authorization = caller.DefaultRequestHeaders.Authorization;
        return client;
    }

    private async Task<(Guid User, string Page)> Bought(string package, bool save = false)
    {
        var user = await host.Database.Account();
        var bought = await Shop(host.Service).Post("/api/credits/purchase", new { userId = user, packageId = package, savePaymentMethod = save }, "k").JsonAsync(201);
        return (user, new Uri(bought.Text("checkoutUrl")).AbsolutePath);
    }

    private async Task<string> Page(string path)
    {
        var response = await _browser.Get(path);
        Assert.Equal((200, "text/html"), ((int)response.StatusCode, response.Content.Headers.ContentType!.MediaType));
        return await response.Content.ReadAsStringAsync(TestContext.Current.CancellationToken);
    }

    [GeneratedRegex("<form method=\"post\" action=\"([^\"]+)\">")]
    private static partial Regex Actions();
}

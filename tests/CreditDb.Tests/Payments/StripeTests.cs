using System.Text;
using System.Text.Json.Nodes;
using CreditDb.Host.Payments;
using CreditDb.Tests.Api;
using Microsoft.AspNetCore.Mvc.Testing;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace CreditDb.Tests.Payments;

/// <summary>Buying by Stripe: the checkout, the webhook and the charges of automatic top-up, against an API on a real socket.</summary>
public sealed class StripeTests(ApiHost host, FakeStripe stripe) : IClassFixture<ApiHost>, IClassFixture<FakeStripe>, IAsyncLifetime
{
    private readonly KeptLog _log = new();
    private WebApplicationFactory<Program> _shop = null!;
    private HttpClient _anonymous = null!;

    public ValueTask InitializeAsync()
    {
        stripe.Answers = FakeStripe.Usual;
        stripe.Requests.Clear();
        _shop = host.Configured(stripe.Settings, services => services.AddSingleton<ILoggerProvider>(_log));
        _anonymous = _shop.CreateClient();
        return ValueTask.CompletedTask;
    }

    public ValueTask DisposeAsync() => _shop.DisposeAsync();

    [Fact]
    public async Task A_user_buys_is_sent_to_the_checkout_and_gets_the_credits_when_the_webhook_comes()
    {
        var user = await host.Database.Account();
        var person = await Shop(await host.UserAsync(user));
        var bought = await person.Post("/api/credits/purchase", new { packageId = "starter" }, "cart 1").JsonAsync(201);
        Assert.Equal(("pending", 100m, 500m, "USD", "stripe"), (bought.Text("status"), bought.Number("credits"), bought.Number("priceMinor"), bought.Text("currency"), bought.Text("provider")));
        Assert.StartsWith("https://checkout.example/", bought.Text("checkoutUrl"), StringComparison.Ordinal);
        var purchase = bought.GetProperty("purchaseId").GetGuid();

        var asked = Assert.Single(stripe.Requests);
        Assert.Equal(("checkout/sessions", purchase.ToString(), "Bearer " + FakeStripe.Key), (asked.Path, asked.IdempotencyKey, asked.Authorization));
        foreach (var (name, value) in new[]
        {
            ("mode", "payment"), ("client_reference_id", purchase.ToString()), ("metadata[user_id]", user.ToString()), ("metadata[purchase_id]", purchase.ToString()),
            ("payment_intent_data[metadata][user_id]", user.ToString()), ("payment_intent_data[metadata][purchase_id]", purchase.ToString()),
            ("line_items[0][quantity]", "1"), ("line_items[0][price_data][currency]", "usd"), ("line_items[0][price_data][unit_amount]", "500"),
            ("line_items[0][price_data][product_data][name]", "Starter"), ("success_url", $"https://app.example/credits?tab=1&purchase={purchase}&result=paid"),
            ("cancel_url", $"https://app.example/credits?tab=1&purchase={purchase}&result=cancelled"),
        })
            Assert.Equal((name, value), (name, asked.Form[name]));
        Assert.DoesNotContain("payment_intent_data[setup_future_usage]", asked.Form.Keys);

        var again = await person.Post("/api/credits/purchase", new { packageId = "starter" }, "cart 1").JsonAsync(201);
        Assert.Equal((purchase.ToString(), bought.Text("checkoutUrl")), (again.Text("purchaseId"), again.Text("checkoutUrl")));
        Assert.Single(stripe.Requests);

        Assert.Equal("applied", (await Webhook(StripePayloads.Session("checkout.session.completed", user, purchase, "pi_a" + user)).JsonAsync()).Text("status"));
        Assert.Equal(100, await host.Database.Balance(user));
        again = await person.Post("/api/credits/purchase", new { packageId = "starter" }, "cart 1").JsonAsync(201);
        Assert.Equal(("paid", ""), (again.Text("status"), again.Text("checkoutUrl")));
        await person.Post("/api/credits/purchase", new { packageId = "growth" }, "cart 1").ProblemAsync(422, "key_reused");
    }

    [Fact]
    public async Task Eight_requests_with_one_key_are_one_purchase_and_one_page()
    {
        var user = await host.Database.Account();
        var service = await Shop(host.Service);
        var bought = await Task.WhenAll(Enumerable.Range(0, 8).Select(_ => service.Post("/api/credits/purchase", new { userId = user, packageId = "starter" }, "once").JsonAsync(201)));
        Assert.Single(bought.Select(b => b.Text("purchaseId") + b.Text("checkoutUrl")).Distinct());
        Assert.Equal(1, await host.Database.Value<long>("select count(*) from credits.credit_purchases where user_id = $1", user));
    }

    [Fact]
    public async Task What_cannot_be_bought_is_said()
    {
        var (user, other) = (await host.Database.Account(), await host.Database.Account());
        var person = await Shop(await host.UserAsync(user));
        await person.Post("/api/credits/purchase", new { packageId = "starter" }).ProblemAsync(400, "idempotency_key_required");
        await person.Post("/api/credits/purchase", new { packageId = "starter" }, new string('x', 101)).ProblemAsync(400, "idempotency_key_required");
        await person.Post("/api/credits/purchase", new { packageId = "starter" }, "schlüssel").ProblemAsync(400, "invalid_idempotency_key");
        await person.Post("/api/credits/purchase", new { packageId = "no_such" }, "a").ProblemAsync(404, "not_found");
        await person.Post("/api/credits/purchase", new { userId = other, packageId = "starter" }, "b").ProblemAsync(403, "another_user");
        await person.Get($"/api/credits/purchases?userId={other}").ProblemAsync(403, "another_user");
        await person.Put("/api/credits/top-up", new { userId = other, isOn = true }).ProblemAsync(403, "another_user");
        await person.Post($"/api/admin/purchases/{Guid.NewGuid()}/refund", new { userId = user }, "c").ProblemAsync(403, "forbidden");
        await (await Shop(host.Service)).Post("/api/credits/purchase", new { packageId = "starter" }, "d").ProblemAsync(400, "user_required");
        await (await Shop(host.Admin)).Post("/api/credits/purchase", new { userId = user, packageId = "starter" }, "e").ProblemAsync(403, "forbidden");
        await _anonymous.Post("/api/credits/purchase", new { packageId = "starter" }, "f").ProblemAsync(401, "unauthenticated");
        await host.Service.Post("/api/credits/purchase", new { userId = user, packageId = "starter" }, "g").ProblemAsync(409, "payments_off");
        await host.Anonymous().Send(HttpMethod.Post, "/api/payments/stripe/webhook", new StringContent("{}")).ProblemAsync(404, "no_such_endpoint");
        Assert.Empty(stripe.Requests);
    }

    [Fact]
    public async Task A_Stripe_that_is_busy_or_hangs_up_is_asked_again_and_one_that_stays_away_is_said()
    {
        var user = await host.Database.Account();
        var service = await Shop(host.Service);
        var calls = 0;
        stripe.Answers = request => Interlocked.Increment(ref calls) switch
        {
            1 => null,
            2 => (429, FakeStripe.Error("invalid_request_error", "rate_limit", "Too many")),
            3 => (500, FakeStripe.Error("api_error", "", "Oops")),
            _ => FakeStripe.Usual(request),
        };
        await service.Post("/api/credits/purchase", new { userId = user, packageId = "starter" }, "1").JsonAsync(201);
        Assert.Equal(4, calls);
        Assert.Single(stripe.Requests.Select(r => r.IdempotencyKey).Distinct());

        stripe.Answers = _ => (503, FakeStripe.Error("api_error", "", "Down"));
        await service.Post("/api/credits/purchase", new { userId = user, packageId = "starter" }, "2").ProblemAsync(502, "payment_provider_failed");
        stripe.Answers = _ => (400, FakeStripe.Error("invalid_request_error", "amount_too_small", "Amount must be at least 50 cents."));
        var refused = await service.Post("/api/credits/purchase", new { userId = user, packageId = "starter" }, "3").ProblemAsync(409, "payment_refused");
        Assert.Equal("Amount must be at least 50 cents.", refused.Text("detail"));
        // Once Stripe is back, the same key goes on where it was.
        stripe.Answers = FakeStripe.Usual;
        Assert.NotEqual("", (await service.Post("/api/credits/purchase", new { userId = user, packageId = "starter" }, "2").JsonAsync(201)).Text("checkoutUrl"));
        Assert.Equal(3, await host.Database.Value<long>("select count(*) from credits.credit_purchases where user_id = $1", user));
    }

    [Fact]
    public async Task Webhooks_that_are_not_signed_or_no_events_are_refused_and_the_secret_is_in_no_log()
    {
        var (user, purchase) = await Begun();
        var body = StripePayloads.Session("checkout.session.completed", user, purchase, "pi_1").ToJsonString();
        await Post(body, FakeStripe.Sign(body, TimeProvider.System.GetUtcNow(), "whsec_wrong_secret")).ProblemAsync(400, "bad_signature");
        await Post(body, FakeStripe.Sign(body, TimeProvider.System.GetUtcNow().AddMinutes(-6), FakeStripe.Secret)).ProblemAsync(400, "bad_signature");
        await Post(body, null).ProblemAsync(400, "bad_signature");
        await Post(body + " ", FakeStripe.Sign(body, TimeProvider.System.GetUtcNow(), FakeStripe.Secret)).ProblemAsync(400, "bad_signature");
        foreach (var wrong in new[] { "", "[]", "{", "null" })
            await Post(wrong, FakeStripe.Sign(wrong, TimeProvider.System.GetUtcNow(), FakeStripe.Secret)).ProblemAsync(400, "malformed_json");
        var large = "{\"a\":\"" + new string('x', 300_000) + "\"}";
        await Post(large, FakeStripe.Sign(large, TimeProvider.System.GetUtcNow(), FakeStripe.Secret)).ProblemAsync(413, "body_too_large");
        Assert.Equal(0, await host.Database.Balance(user));
        // The second secret is as good as the first.
        await Post(body, FakeStripe.Sign(body, TimeProvider.System.GetUtcNow(), FakeStripe.NextSecret)).JsonAsync();
        Assert.Equal(100, await host.Database.Balance(user));
        Assert.Contains(_log.Lines, line => line.Contains("not signed", StringComparison.Ordinal));
        Assert.DoesNotContain(_log.Lines, line => line.Contains(FakeStripe.Key, StringComparison.Ordinal) || line.Contains("whsec_", StringComparison.Ordinal));
    }

    [Fact]
    public async Task A_storm_of_replayed_webhooks_out_of_order_moves_each_credit_once()
    {
        var (user, purchase) = await Begun();
        var intent = "pi_s" + user;
        JsonObject[] events =
        [
            StripePayloads.Session("checkout.session.completed", user, purchase, intent, paymentStatus: "unpaid"),
            StripePayloads.Session("checkout.session.async_payment_succeeded", user, purchase, intent),
            StripePayloads.Intent("payment_intent.succeeded", user, purchase, intent),
            StripePayloads.Refunded(intent, 100),
            StripePayloads.Refunded(intent, 200, user, purchase),
            StripePayloads.Dispute("charge.dispute.created", intent, "needs_response"),
            StripePayloads.Dispute("charge.dispute.funds_withdrawn", intent, "needs_response"),
            StripePayloads.Dispute("charge.dispute.closed", intent, "won"),
            StripePayloads.Dispute("charge.dispute.funds_reinstated", intent, "won"),
        ];
        await Task.WhenAll(Enumerable.Range(0, 16).Select(async i =>
        {
            var shuffled = events.ToArray();
            new Random(i).Shuffle(shuffled);
            foreach (var e in shuffled)
                await Webhook(e).JsonAsync();
        }));
        Assert.Equal(60, await host.Database.Balance(user));
        Assert.Equal("paid 200", await host.Database.Value<string>("select status || ' ' || refunded_minor from credits.credit_purchases where user_id = $1", user));
        Assert.Equal(9, await host.Database.Value<long>("select count(*) from credits.payment_events where provider_reference = $1 and status <> 'waiting'", intent));
    }

    [Fact]
    public async Task An_event_that_PostgreSQL_cannot_store_whole_is_still_applied()
    {
        var (user, purchase) = await Begun();
        var hostile = StripePayloads.Session("checkout.session.completed", user, purchase, "pi_h" + user);
        hostile["data"]!["object"]!["customer_details"] = new JsonObject { ["name"] = "a\0b" };
        await Webhook(hostile).JsonAsync();
        Assert.Equal(100, await host.Database.Balance(user));
    }

    [Fact]
    public async Task A_webhook_is_acknowledged_only_when_its_effect_is_committed()
    {
        var (user, purchase) = await Begun();
        await using var blocker = await host.Database.Source.OpenConnectionAsync(TestContext.Current.CancellationToken);
        await using var transaction = await blocker.BeginTransactionAsync(TestContext.Current.CancellationToken);
        await blocker.Run("select from credits.wallets where user_id = $1 for update", user);
        var answer = Webhook(StripePayloads.Session("checkout.session.completed", user, purchase, "pi_b" + user));
        await Eventually.TrueAsync(() => host.Database.Value<bool>("select exists (select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock' and query like '%apply_payment_event%')"), "The webhook does not wait for the wallet.");
        Assert.False(answer.IsCompleted);
        await transaction.RollbackAsync(TestContext.Current.CancellationToken);
        await answer.JsonAsync();
        Assert.Equal(100, await host.Database.Balance(user));
    }

    [Fact]
    public async Task What_the_database_could_not_take_is_not_acknowledged_and_applied_when_it_comes_again()
    {
        var (user, purchase) = await Begun();
        var e = StripePayloads.Session("checkout.session.completed", user, purchase, "pi_d" + user);
        await host.Database.Run("alter table credits.payment_events rename to payment_events_away");
        try
        {
            await Webhook(e).ProblemAsync(500, "internal_error");
        }
        finally
        {
            await host.Database.Run("alter table credits.payment_events_away rename to payment_events");
        }

        Assert.Equal(0, await host.Database.Balance(user));
        Assert.Equal("applied", (await Webhook(e).JsonAsync()).Text("status"));
        Assert.Equal("100.000000 stripe", await host.Database.Value<string>("select amount || ' ' || actor from credits.credit_ledger where user_id = $1", user));
    }

    [Fact]
    public async Task An_operator_sees_what_waits_applies_it_and_dismisses_the_rest()
    {
        var (user, purchase) = await Begun();
        var admin = await Shop(host.Admin);
        var kept = StripePayloads.Session("checkout.session.completed", null, null, "pi_o" + user);
        Assert.Equal("waiting", (await Webhook(kept).JsonAsync()).Text("status"));
        await Webhook(StripePayloads.Dispute("charge.dispute.created", "pi_other" + user, "needs_response")).JsonAsync();
        var first = await admin.Get("/api/admin/payment-events?limit=1").JsonAsync();
        Assert.Equal(("disputed", "unknown_payment"), (first.GetProperty("items")[0].Text("kind"), first.GetProperty("items")[0].Text("reason")));
        var second = (await admin.Get($"/api/admin/payment-events?limit=1&after={first.Text("next")}").JsonAsync()).GetProperty("items")[0];
        Assert.Equal((kept["id"]!.ToString(), "unknown_purchase", "ada@example.com"), (second.Text("eventId"), second.Text("reason"), second.GetProperty("payload").GetProperty("data").GetProperty("object").GetProperty("customer_details").Text("email")));

        var path = $"/api/admin/payment-events/{second.Text("paymentEventId")}";
        Assert.Equal("waiting", (await admin.Post(path + "/retry", new { }).JsonAsync()).Text("status"));
        Assert.Equal("applied", (await admin.Post(path + "/retry", new { userId = user, purchaseId = purchase }).JsonAsync()).Text("status"));
        Assert.Equal(100, await host.Database.Balance(user));
        var dismissed = await admin.Post($"/api/admin/payment-events/{first.GetProperty("items")[0].Text("paymentEventId")}/dismiss", new { reason = "not ours" }).JsonAsync();
        Assert.Equal("dismissed", dismissed.Text("status"));
        await admin.Post($"/api/admin/payment-events/{Guid.NewGuid()}/retry", new { }).ProblemAsync(404, "not_found");
        await admin.Get("/api/admin/payment-events?limit=0").ProblemAsync(400, "invalid_argument");
        await admin.Get("/api/admin/payment-events?after=x").ProblemAsync(400, "invalid_argument");
        await (await Shop(host.Service)).Get("/api/admin/payment-events").ProblemAsync(403, "forbidden");
    }

    [Fact]
    public async Task An_operator_refunds_at_Stripe_and_the_credits_follow_by_the_webhook()
    {
        var (user, purchase) = await Begun();
        var admin = await Shop(host.Admin);
        var path = $"/api/admin/purchases/{purchase}/refund";
        await admin.Post(path, new { userId = user }, "r").ProblemAsync(409, "purchase_not_paid");
        var intent = "pi_r" + user;
        await Webhook(StripePayloads.Session("checkout.session.completed", user, purchase, intent)).JsonAsync();
        stripe.Requests.Clear();
        var refunded = await admin.Post(path, new { userId = user, amountMinor = 200 }, "r").JsonAsync();
        Assert.Equal(refunded.Text("refundReference"), (await admin.Post(path, new { userId = user, amountMinor = 200 }, "r").JsonAsync()).Text("refundReference"));
        Assert.All(stripe.Requests, r => Assert.Equal(("refunds", intent, "200"), (r.Path, r.Form["payment_intent"], r.Form["amount"])));
        Assert.Equal(100, await host.Database.Balance(user));
        await Webhook(StripePayloads.Refunded(intent, 200)).JsonAsync();
        Assert.Equal(60, await host.Database.Balance(user));
        // It failed there: the purchase goes on until the next one.
        var undo = $"/api/admin/purchases/{purchase}/reinstate";
        await admin.Post(undo, new { userId = user, refundReference = intent + " refund 1" }).ProblemAsync(409, "refund_stands");
        await Webhook(StripePayloads.Refund(intent)).JsonAsync();
        var reinstated = await admin.Post(undo, new { userId = user, refundReference = intent + " refund 1", reason = "account closed" }).JsonAsync();
        Assert.Equal((100m, true), (await host.Database.Balance(user), reinstated.Flag("reinstated")));
        await admin.Post(undo, new { userId = user, refundReference = "no such" }).ProblemAsync(404, "not_found");
        await Webhook(StripePayloads.Refunded(intent, 100)).JsonAsync();
        Assert.Equal(80, await host.Database.Balance(user));
        stripe.Answers = _ => (400, FakeStripe.Error("invalid_request_error", "charge_already_refunded", "It was refunded."));
        await admin.Post(path, new { userId = user, amountMinor = 1 }, "s").ProblemAsync(409, "payment_refused");
        await admin.Post(path, new { userId = user }).ProblemAsync(400, "idempotency_key_required");
        await admin.Post(path, new { userId = Guid.NewGuid() }, "t").ProblemAsync(404, "not_found");
    }

    [Fact]
    public async Task Automatic_top_up_charges_the_saved_card_once_and_a_declined_one_never_again()
    {
        var user = await host.Database.Account();
        var person = await Shop(await host.UserAsync(user));
        Assert.Equal("off", (await person.Get("/api/credits/top-up").JsonAsync()).Text("status"));
        await person.Put("/api/credits/top-up", new { isOn = true, threshold = 20, packageId = "starter" }).ProblemAsync(400, "invalid_argument");
        var set = await person.Put("/api/credits/top-up", new { isOn = true, threshold = 20, packageId = "starter", monthlyCapMinor = 1000 }).JsonAsync();
        Assert.Equal("needs_payment_method", set.Text("status"));
        var purchase = (await person.Post("/api/credits/purchase", new { packageId = "starter", savePaymentMethod = true }, "save").JsonAsync(201)).GetProperty("purchaseId").GetGuid();
        Assert.Equal(("off_session", "always"), (stripe.Requests.Last().Form["payment_intent_data[setup_future_usage]"], stripe.Requests.Last().Form["customer_creation"]));
        await Webhook(StripePayloads.Session("checkout.session.completed", user, purchase, "pi_t" + user)).JsonAsync();
        await Webhook(StripePayloads.Intent("payment_intent.succeeded", user, purchase, "pi_t" + user, isSaved: true)).JsonAsync();
        Assert.Equal("on", (await person.Get("/api/credits/top-up").JsonAsync()).Text("status"));

        var service = _shop.Services.GetRequiredService<TopUpService>();
        Assert.Equal(0, await service.RunOnceAsync(TestContext.Current.CancellationToken));
        await host.Database.Run("select credits.deduct_credits_for_action($1, 'create_agent', 16)", user);
        stripe.Requests.Clear();
        // Two hosts, one charge.
        await Task.WhenAll(service.RunOnceAsync(TestContext.Current.CancellationToken), service.RunOnceAsync(TestContext.Current.CancellationToken));
        var charged = Assert.Single(stripe.Requests);
        Assert.Equal(("payment_intents", "500", "usd", "cus_1", "pm_1", "true", "true", charged.Form["metadata[purchase_id]"]),
            (charged.Path, charged.Form["amount"], charged.Form["currency"], charged.Form["customer"], charged.Form["payment_method"], charged.Form["off_session"], charged.Form["confirm"], charged.IdempotencyKey));
        Assert.Equal(120, await host.Database.Balance(user));

        await host.Database.Run("select credits.deduct_credits_for_action($1, 'create_agent', 20)", user);
        stripe.Answers = _ => (402, FakeStripe.Error("card_error", "card_declined", "Your card was declined."));
        Assert.Equal(1, await service.RunOnceAsync(TestContext.Current.CancellationToken));
        Assert.Equal(0, await service.RunOnceAsync(TestContext.Current.CancellationToken));
        var failed = await person.Get("/api/credits/top-up").JsonAsync();
        Assert.Equal(("failed", "Your card was declined.", 500m), (failed.Text("status"), failed.Text("failureReason"), failed.Number("spentMinor")));
        var listed = (await person.Get("/api/credits/purchases").JsonAsync()).GetProperty("items");
        Assert.Equal(["failed True", "paid True", "paid False"], listed.EnumerateArray().Select(p => $"{p.Text("status")} {p.Text("isTopUp")}"));
        Assert.Equal("on", (await person.Put("/api/credits/top-up", new { isOn = true }).JsonAsync()).Text("status"));
        await person.Put("/api/credits/top-up", new { isOn = false }).JsonAsync();
    }

    [Fact]
    public async Task A_top_up_whose_answer_was_lost_is_completed_by_the_webhook_and_one_in_process_is_waited_for()
    {
        var user = await host.Database.Account();
        await host.Database.Run(
            """
            select credits.apply_payment_event('stripe', $2, 'completed', $1, (credits.create_purchase($1, 'starter', 'stripe') ->> 'purchase_id')::uuid, $2, 500, 'USD',
              p_customer_reference => 'cus_1', p_payment_method => 'pm_1')
            """, user, "pi_l" + user);
        await host.Database.Run("select credits.set_top_up($1, 'stripe', true, 100, 'starter', 100000)", user);
        var service = _shop.Services.GetRequiredService<TopUpService>();
        // Neither says whether the card was charged.
        var calls = 0;
        stripe.Answers = _ => Interlocked.Increment(ref calls) == 1 ? (500, FakeStripe.Error("api_error", "", "")) : (400, FakeStripe.Error("idempotency_error", "", "Differs."));
        Assert.Equal(1, await service.RunOnceAsync(TestContext.Current.CancellationToken));
        Assert.Equal(100, await host.Database.Balance(user));
        var purchase = await host.Database.Value<Guid>("select purchase_id from credits.top_ups where user_id = $1", user);
        await Webhook(StripePayloads.Intent("payment_intent.succeeded", user, purchase, "pi_m" + user, isTopUp: true)).JsonAsync();
        Assert.Equal(200, await host.Database.Balance(user));

        await host.Database.Run("select credits.deduct_credits_for_action($1, 'create_agent', 20)", user);
        stripe.Answers = request => (200, FakeStripe.Intent(request, "processing"));
        Assert.Equal(1, await service.RunOnceAsync(TestContext.Current.CancellationToken));
        purchase = await host.Database.Value<Guid>("select purchase_id from credits.top_ups where user_id = $1 and leased_until = 'infinity'", user);
        await Webhook(StripePayloads.Intent("payment_intent.payment_failed", user, purchase, "pi_n" + user, "requires_payment_method", isTopUp: true, error: "No funds.")).JsonAsync();
        Assert.Equal("failed", (await host.Database.Json("select credits.get_top_up($1, 'stripe')", user)).Text("status"));
    }

    [Theory]
    [InlineData("Payments:Provider", "paypal", "Payments:Provider must be")]
    [InlineData("Payments:ReturnUrl", "app/credits", "Payments:ReturnUrl must be")]
    [InlineData("Payments:Stripe:SecretKey", "pk_test_123456789", "Payments:Stripe:SecretKey must be")]
    [InlineData("Payments:Stripe:WebhookSecrets:0", "secret", "Payments:Stripe:WebhookSecrets must have")]
    [InlineData("Payments:Stripe:ApiBase", "api.stripe.com", "Payments:Stripe:ApiBase must be")]
    [InlineData("Payments:TopUpSeconds", "0", "TopUpSeconds")]
    public async Task A_wrong_setting_stops_the_host_is_named_and_no_secret_is_repeated(string name, string value, string said)
    {
        var settings = stripe.Settings.Where(s => s.Item1 != name).Append((name, value)).Select(s => $"--{s.Item1}={s.Item2}");
        var (exitCode, _, error) = await HostProcess.RunAsync([.. settings], environment: new Dictionary<string, string?> { ["ConnectionStrings__CreditDb"] = host.Database.ConnectionString });
        Assert.Equal(1, exitCode);
        Assert.Contains(said, error, StringComparison.Ordinal);
        Assert.DoesNotContain("123456789", error, StringComparison.Ordinal);
        Assert.DoesNotContain(FakeStripe.Key, error, StringComparison.Ordinal);
    }

    private async Task<(Guid User, Guid Purchase)> Begun()
    {
        var user = await host.Database.Account();
        return (user, (await host.Database.Json("select credits.create_purchase($1, 'starter', 'stripe')", user)).GetProperty("purchase_id").GetGuid());
    }

    /// <summary>The same caller at the host that sells.</summary>
    private Task<HttpClient> Shop(HttpClient caller)
    {
        var client = _shop.CreateClient();
        client.DefaultRequestHeaders.Authorization = caller.DefaultRequestHeaders.Authorization;
        return Task.FromResult(client);
    }

    private Task<HttpResponseMessage> Webhook(JsonObject e)
    {
        var body = e.ToJsonString();
        return Post(body, FakeStripe.Sign(body, TimeProvider.System.GetUtcNow(), FakeStripe.Secret));
    }

    private Task<HttpResponseMessage> Post(string body, string? signature) => _anonymous.Send(
        HttpMethod.Post, "/api/payments/stripe/webhook", new StringContent(body, Encoding.UTF8, "application/json"), ("Stripe-Signature", signature));

    private sealed class KeptLog : ILoggerProvider, ILogger
    {
        public System.Collections.Concurrent.ConcurrentQueue<string> Lines { get; } = [];

        public ILogger CreateLogger(string categoryName) => this;

        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => true;

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter) =>
            Lines.Enqueue(formatter(state, exception) + exception);

        public void Dispose()
        {
        }
    }
}

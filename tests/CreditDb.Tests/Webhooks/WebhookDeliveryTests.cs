using System.Diagnostics.Metrics;
using CreditDb.Host.Webhooks;
using Microsoft.AspNetCore.DataProtection;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Options;

namespace CreditDb.Tests.Webhooks;

/// <summary>Hosts that deliver to a receiver that fails, is slow, or goes away half-way.</summary>
public sealed class WebhookDeliveryTests(TestServer server) : IAsyncLifetime
{
    private readonly EphemeralDataProtectionProvider _protection = new();
    private readonly List<IDisposable> _disposables = [];
    private readonly List<WebhookDelivery> _hosts = [];
    private TestDatabase _db = null!;
    private Receiver _receiver = null!;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync()
    {
        _db = new TestDatabase(server);
        await _db.InitializeAsync();
        _receiver = await Receiver.StartAsync();
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var host in _hosts)
        {
            await host.StopAsync(CancellationToken.None);
            host.Dispose();
        }
        _disposables.ForEach(d => d.Dispose());
        await _receiver.DisposeAsync();
        await _db.DisposeAsync();
    }

    [Fact]
    public async Task An_event_arrives_signed_with_its_id_and_camel_case_names()
    {
        var (endpoint, secret) = await EndpointAsync();
        var user = await _db.Account();
        await HostAsync();
        await Decline(user);
        await Eventually.TrueAsync(() => _receiver.Accepted.Any(), "the event does not arrive");
        var received = _receiver.All.Single();
        Assert.Equal(("POST", "/hook?tenant=7", "application/json; charset=utf-8", "1", "notification.deduction_failed"),
            (received.Method, received.Path, received.Headers["Content-Type"], received.Attempt, received.Headers["CreditDb-Event-Type"]));
        Assert.True(received.IsSignedBy(secret));
        Assert.False(received.IsSignedBy(WebhookSecret.New()));
        Assert.False((received with { Body = received.Body.Replace("create_agent", "create_agents", StringComparison.Ordinal) }).IsSignedBy(secret));
        var body = received.Json;
        Assert.Equal(["id", "type", "createdAt", "userId", "data"], body.EnumerateObject().Select(p => p.Name));
        Assert.Equal((received.EventId, "notification.deduction_failed", user.ToString()), (body.Text("id"), body.Text("type"), body.Text("userId")));
        Assert.EndsWith("Z", body.Text("createdAt"), StringComparison.Ordinal);
        Assert.Equal("create_agent", body.GetProperty("data").GetProperty("details").Text("actionType"));
        Assert.Equal(("credits", 5m), (body.GetProperty("data").Text("creditType"), body.GetProperty("data").GetProperty("details").Number("required")));
        await Eventually.TrueAsync(async () => await Status(endpoint, "delivered") == 1, "the delivery is not recorded");
    }

    [Fact]
    public async Task What_fails_comes_again_with_the_same_id_and_body_before_the_accounts_next_event()
    {
        await EndpointAsync();
        var (user, other) = (await _db.Account(), await _db.Account());
        _receiver.Answer = (context, received) =>
        {
            context.Response.StatusCode = received.Attempt == "1" && received.Body.Contains("create_agent", StringComparison.Ordinal) && received.Body.Contains(user.ToString(), StringComparison.Ordinal) ? 500 : 200;
            return context.Response.WriteAsync("thanks");
        };
        await Decline(user);
        await Decline(user, "send_email");
        await Decline(other);
        var started = TimeProvider.System.GetTimestamp();
        await HostAsync();
        await Eventually.TrueAsync(() => _receiver.Accepted.Count() == 3, "not all of it arrives");
        Assert.True(TimeProvider.System.GetElapsedTime(started) >= TimeSpan.FromSeconds(4));
        Assert.Equal(other.ToString(), _receiver.Accepted.First().Json.Text("userId"));
        var all = _receiver.All.Where(r => r.Json.Text("userId") == user.ToString()).ToList();
        Assert.Equal(["create_agent 1", "create_agent 2", "send_email 1"], all.Select(r => $"{r.Json.GetProperty("data").Text("actionType")} {r.Attempt}"));
        Assert.Equal((all[0].EventId, all[0].Body), (all[1].EventId, all[1].Body));
    }

    [Fact]
    public async Task Two_hosts_deliver_everything_in_order_while_charges_go_on()
    {
        const int users = 8, events = 8;
        var (endpoint, _) = await EndpointAsync();
        var accounts = await Task.WhenAll(Enumerable.Range(0, users).Select(_ => _db.Account()));
        var (now, most) = (0, 0);
        _receiver.Answer = async (_, _) =>
        {
            most = Math.Max(most, Interlocked.Increment(ref now));
            await Task.Delay(3, Cancel);
            Interlocked.Decrement(ref now);
        };
        await HostAsync();
        await HostAsync();
        await Task.WhenAll(accounts.Select(async user =>
        {
            for (var i = 1; i <= events; i++)
            {
                await Decline(user, quantity: i);
                await _db.Run("select credits.read_notifications($1)", user);
            }
        }));
        await Eventually.TrueAsync(async () => await Status(endpoint, "delivered") == users * events, "not all is delivered");
        Assert.Equal(users * events, _receiver.All.Count);
        foreach (var user in accounts)
            Assert.Equal(Enumerable.Range(1, events).Select(i => 5m * i),
                _receiver.All.Where(r => r.Json.Text("userId") == user.ToString()).Select(r => r.Json.GetProperty("data").GetProperty("details").Number("required")));
        Assert.InRange(most, 2, 16);
    }

    [Fact]
    public async Task A_slow_receiver_slows_no_charge_and_no_other_endpoint()
    {
        var (slow, _) = await EndpointAsync();
        await using var other = await Receiver.StartAsync();
        await EndpointAsync(other.Url);
        _receiver.Answer = (_, _) => Task.Delay(TimeSpan.FromSeconds(30), Cancel);
        await HostAsync(o => o.TimeoutSeconds = 2);
        var started = TimeProvider.System.GetTimestamp();
        for (var i = 0; i < 20; i++)
            await Decline(await _db.Account());
        Assert.InRange(TimeProvider.System.GetElapsedTime(started).TotalSeconds, 0, 10);
        await Eventually.TrueAsync(() => other.Accepted.Count() == 20, "the other endpoint waits for the slow one");
        await Eventually.TrueAsync(async () => await Error(slow) == "no answer within 2 s", "the time limit is not kept");
        await Eventually.TrueAsync(async () => await _db.Value<long>("select count(*) from credits.get_webhook_endpoints() where paused_until is not null") == 1, "it is not paused");
        Assert.InRange(_receiver.All.Count, 5, 16);
    }

    [Fact]
    public async Task A_receiver_that_hangs_up_half_way_gets_it_again()
    {
        var (endpoint, secret) = await EndpointAsync();
        _receiver.Answer = async (context, received) =>
        {
            if (received.Attempt != "1")
                return;
            context.Response.StatusCode = 200;
            context.Response.ContentLength = 1000;
            context.Abort();
            await Task.CompletedTask;
        };
        await Decline(await _db.Account());
        await HostAsync();
        await Eventually.TrueAsync(async () => await Status(endpoint, "delivered") == 1, "it does not arrive");
        Assert.Equal(["1", "2"], _receiver.All.Select(r => r.Attempt));
        Assert.Single(_receiver.All.Select(r => r.EventId).Distinct());
        Assert.True(_receiver.All.Last().IsSignedBy(secret));
    }

    [Fact]
    public async Task A_receiver_that_is_away_gets_all_of_it_when_it_is_back()
    {
        var (endpoint, _) = await EndpointAsync();
        var port = new Uri(_receiver.Url).Port;
        await _receiver.DisposeAsync();
        var user = await _db.Account();
        await Decline(user);
        await Decline(user, "send_email");
        await HostAsync();
        await Eventually.TrueAsync(async () => await Error(endpoint) == "nothing answers at the address", "it is not noticed");
        _receiver = await Receiver.StartAsync(port);
        await Eventually.TrueAsync(async () => await Status(endpoint, "delivered") == 2, "it does not arrive");
        Assert.Equal(["create_agent", "send_email"], _receiver.All.Select(r => r.Json.GetProperty("data").Text("actionType")));
    }

    [Fact]
    public async Task A_redirect_is_not_followed_and_a_long_answer_not_read()
    {
        await using var elsewhere = await Receiver.StartAsync();
        var (redirected, _) = await EndpointAsync();
        await using var talkative = await Receiver.StartAsync();
        var (long_, _) = await EndpointAsync(talkative.Url);
        _receiver.Answer = (context, _) =>
        {
            context.Response.Redirect(elsewhere.Url);
            return Task.CompletedTask;
        };
        var written = 0L;
        talkative.Answer = async (context, _) =>
        {
            try
            {
                for (; written < 1_000_000_000; written += 65536)
                    await context.Response.Body.WriteAsync(new byte[65536], context.RequestAborted);
            }
            catch (OperationCanceledException)
            {
                // The sender hung up, as it should.
            }
        };
        await Decline(await _db.Account());
        await HostAsync();
        await Eventually.TrueAsync(async () => await Error(redirected) == "answered 302" && await Status(long_, "delivered") == 1, "the answers are not taken");
        Assert.Empty(elsewhere.All);
        Assert.InRange(written, 0, 50_000_000);
    }

    [Fact]
    public async Task A_host_that_stops_finishes_what_it_began_and_another_delivers_the_rest()
    {
        var (endpoint, _) = await EndpointAsync();
        var arrived = new TaskCompletionSource();
        _receiver.Answer = async (_, _) =>
        {
            arrived.TrySetResult();
            await Task.Delay(500, Cancel);
        };
        var user = await _db.Account();
        await Decline(user);
        await Decline(user, "send_email");
        var first = await HostAsync();
        await arrived.Task.WaitAsync(Cancel);
        await first.StopAsync(Cancel);
        Assert.Equal(1, await Status(endpoint, "delivered"));
        Assert.Single(_receiver.All);
        await HostAsync();
        await Eventually.TrueAsync(async () => await Status(endpoint, "delivered") == 2, "the rest is not delivered");
        Assert.Equal(["1", "1"], _receiver.All.Select(r => r.Attempt));
    }

    [Fact]
    public async Task An_event_whose_host_died_is_delivered_by_the_next()
    {
        var (endpoint, _) = await EndpointAsync();
        await Decline(await _db.Account());
        Assert.Equal(1, await _db.Value<long>("select count(*) from credits.claim_webhook_deliveries(1, '2 seconds')"));
        await HostAsync();
        await Eventually.TrueAsync(async () => await Status(endpoint, "delivered") == 1, "it is lost");
        Assert.Equal("2", _receiver.All.Single().Attempt);
    }

    [Fact]
    public async Task While_a_secret_is_rotated_both_verify()
    {
        var (endpoint, first) = await EndpointAsync();
        var second = WebhookSecret.New();
        await _db.Run("select credits.rotate_webhook_secret($1, $2)", endpoint, Protect(second));
        await Decline(await _db.Account());
        await HostAsync();
        await Eventually.TrueAsync(() => _receiver.Accepted.Any(), "it does not arrive");
        Assert.True(_receiver.All.Single().IsSignedBy(first) && _receiver.All.Single().IsSignedBy(second));
        Assert.StartsWith("t=", _receiver.All.Single().Headers["CreditDb-Signature"], StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_secret_that_nobody_can_read_any_more_is_a_failure_that_says_so()
    {
        var (endpoint, _) = await EndpointAsync();
        await _db.Run("select credits.set_webhook_endpoint($1, p_secret => 'gone')", endpoint);
        await Decline(await _db.Account());
        await HostAsync();
        await Eventually.TrueAsync(async () => (await Error(endpoint))?.Contains("rotate it", StringComparison.Ordinal) == true, "it is not said");
        Assert.Empty(_receiver.All);
    }

    [Theory]
    [InlineData("https://127.0.0.1:{0}/", false)]
    [InlineData("https://localhost:{0}/", false)]
    [InlineData("https://[::ffff:127.0.0.1]:{0}/", false)]
    [InlineData("https://2130706433:{0}/", false)]
    [InlineData("https://169.254.169.254/latest/", false)]
    [InlineData("http://127.0.0.1:{0}/", true)]
    public async Task Addresses_inside_are_not_called(string url, bool isReached)
    {
        var answer = await SendAsync(string.Format(System.Globalization.CultureInfo.InvariantCulture, url, new Uri(_receiver.Url).Port));
        Assert.Equal(isReached, answer.Error is null);
        Assert.Equal(isReached ? 1 : 0, _receiver.All.Count);
        if (!isReached)
            Assert.Contains("not at an address that webhooks may be sent to", answer.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Settings_decide_about_loopback_and_private_addresses()
    {
        Assert.Contains("may be sent to", (await SendAsync(_receiver.Url, o => o.AllowLoopback = false)).Error, StringComparison.Ordinal);
        // The receiver speaks no TLS: that this is what fails shows that it was called.
        Assert.Contains("no secure connection", (await SendAsync(_receiver.Url.Replace("http:", "https:", StringComparison.Ordinal), o => o.AllowPrivateAddresses = true)).Error, StringComparison.Ordinal);
        Assert.Equal("the name of the host is not known", (await SendAsync("https://no-such-host.invalid/")).Error);
        Assert.Empty(_receiver.All);
    }

    [Fact]
    public async Task Attempts_and_what_waits_are_measured()
    {
        await EndpointAsync();
        _receiver.Answer = (context, received) =>
        {
            context.Response.StatusCode = received.Attempt == "1" ? 503 : 200;
            return Task.CompletedTask;
        };
        var seen = new Dictionary<string, long>();
        using var services = new ServiceCollection().AddMetrics().BuildServiceProvider();
        var meters = services.GetRequiredService<IMeterFactory>();
        using var listener = new MeterListener();
        listener.InstrumentPublished = (instrument, l) =>
        {
            if (instrument.Meter.Name == "CreditDb" && instrument.Meter.Scope == meters)
                l.EnableMeasurementEvents(instrument);
        };
        listener.SetMeasurementEventCallback<long>((instrument, value, tags, _) =>
        {
            lock (seen)
            {
                var outcome = tags.ToArray().FirstOrDefault(t => t.Key == "outcome").Value;
                seen[$"{instrument.Name} {outcome}".Trim()] = outcome is null ? value : seen.GetValueOrDefault($"{instrument.Name} {outcome}") + value;
            }
        });
        listener.Start();
        await Decline(await _db.Account());
        await HostAsync(meters: meters);
        await Eventually.TrueAsync(
            () =>
            {
                listener.RecordObservableInstruments();
                lock (seen)
                    return seen.GetValueOrDefault("creditdb.webhooks.deliveries delivered") == 1;
            }, "the delivery is not counted");
        Assert.Equal(1, seen["creditdb.webhooks.deliveries failed"]);
        Assert.Equal(0, seen["creditdb.webhooks.dead"]);
        Assert.Equal(1, seen["creditdb.webhooks.pending"]);
    }

    private Task<int> Decline(Guid user, string action = "create_agent", int quantity = 1) =>
        _db.Run("select credits.deduct_credits_for_action($1, $2, $3)", user, action, (decimal)quantity);

    private string Protect(string secret) => _protection.CreateProtector(WebhookSecret.Purpose).Protect(secret);

    private async Task<(Guid Id, string Secret)> EndpointAsync(string? url = null)
    {
        var (id, secret) = (Guid.NewGuid(), WebhookSecret.New());
        Assert.Equal("ok", (await _db.Json("select credits.set_webhook_endpoint($1, $2, $3)", id, url ?? _receiver.Url, Protect(secret))).Text("code"));
        return (id, secret);
    }

    private Task<long> Status(Guid endpoint, string status) =>
        _db.Value<long>("select count(*) from credits.webhook_deliveries where endpoint_id = $1 and status = $2", endpoint, status);

    private Task<string?> Error(Guid endpoint) => _db.Value<string?>("select last_error from credits.get_webhook_endpoints() where endpoint_id = $1", endpoint);

    private WebhookSender Sender(IOptions<WebhookOptions> options)
    {
        var sender = new WebhookSender(_protection, options, TimeProvider.System);
        _disposables.Add(sender);
        return sender;
    }

    private Task<WebhookAnswer> SendAsync(string url, Action<WebhookOptions>? configure = null) => Sender(Options(configure)).SendAsync(
        new WebhookMessage(new Uri(url), [Protect("s")], Guid.NewGuid(), "webhook.test", TimeProvider.System.GetUtcNow(), null, null, 1), Cancel);

    private static IOptions<WebhookOptions> Options(Action<WebhookOptions>? configure)
    {
        var options = new WebhookOptions { PollMilliseconds = 50 };
        configure?.Invoke(options);
        return Microsoft.Extensions.Options.Options.Create(options);
    }

    /// <summary>One more host that delivers.</summary>
    private async Task<WebhookDelivery> HostAsync(Action<WebhookOptions>? configure = null, IMeterFactory? meters = null)
    {
        var options = Options(configure);
        if (meters is null)
        {
            var services = new ServiceCollection().AddMetrics().BuildServiceProvider();
            _disposables.Add(services);
            meters = services.GetRequiredService<IMeterFactory>();
        }
        var host = new WebhookDelivery(
            new SqlCaller(_db.Source, null, null), Sender(options), new WebhookMetrics(meters), options, TimeProvider.System, NullLogger<WebhookDelivery>.Instance);
        _hosts.Add(host);
        await host.StartAsync(Cancel);
        return host;
    }
}

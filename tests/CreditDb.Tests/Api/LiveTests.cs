using System.Diagnostics;
using System.Diagnostics.Metrics;
using System.Net.Http.Headers;
using CreditDb.Host.Live;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace CreditDb.Tests.Api;

/// <summary>GET /api/usage/events: who sees what, when, and how often.</summary>
public sealed class LiveTests(ApiHost host) : IClassFixture<ApiHost>
{
    private const string Charge = "select credits.deduct_credits_for_action($1, 'prompt_formatting', $2)";

    [Fact]
    public async Task A_stream_begins_with_all_that_there_is()
    {
        var user = await host.Database.Account(100);
        await host.Database.Run(Charge, user, 2m);
        await host.Database.Run("select credits.deduct_credits_for_action($1, 'create_agent', 100)", user);
        using var person = await host.UserAsync(user);
        await using var stream = await EventStream.OpenAsync(person);
        var snapshot = await stream.NextAsync("snapshot");
        Assert.Equal(["credits 98", "chat_messages 0"], snapshot.GetProperty("balances").EnumerateArray().Select(b => $"{b.Text("creditType")} {b.Number("total")}"));
        Assert.Equal(["deduction_failed"], snapshot.GetProperty("notifications").EnumerateArray().Select(n => n.Text("type")));
        Assert.Equal(["usage -2", "grant 100"], snapshot.GetProperty("entries").EnumerateArray().Select(e => $"{e.Text("kind")} {e.Number("amount")}"));
        Assert.InRange(stream.Retry, 1000, 5000);
        await stream.QuietAsync();
    }

    [Fact]
    public async Task A_charge_by_another_connection_arrives_within_a_second_and_one_by_this_API_at_once()
    {
        var user = await host.Database.Account(100);
        await using var slowlyPolling = host.Configured([("Live:PollMilliseconds", "10000")]);
        using var person = await host.UserAsync(user);
        await using var stream = await EventStream.OpenAsync(person);
        await stream.NextAsync("snapshot");
        var worst = TimeSpan.Zero;
        for (var i = 1; i <= 10; i++)
        {
            await host.Database.Run("insert into public.bots (user_id, name) values ($1, 'a')", user);
            var charged = Stopwatch.GetTimestamp();
            Assert.Equal(-5, (await stream.NextAsync("entry")).Number("amount"));
            Assert.Equal(100 - (5 * i), (await stream.NextAsync("balance")).Number("total"));
            worst = TimeSpan.FromTicks(Math.Max(worst.Ticks, Stopwatch.GetElapsedTime(charged).Ticks));
        }

        Assert.True(worst < TimeSpan.FromSeconds(1), $"A charge by psql took {worst}.");

        using var service = slowlyPolling.CreateClient();
        service.DefaultRequestHeaders.Authorization = host.Service.DefaultRequestHeaders.Authorization;
        await using var other = await EventStream.OpenAsync(service, $"?userId={user}");
        await other.NextAsync("snapshot");
        // Its first poll, so that the next one is ten seconds away.
        await other.QuietAsync();
        for (var i = 1; i <= 3; i++)
        {
            var began = Stopwatch.GetTimestamp();
            await service.Post("/api/credits/deduct", new { userId = user, actionType = "create_agent" }).JsonAsync();
            await other.NextAsync("entry");
            await other.NextAsync("balance");
            Assert.True(Stopwatch.GetElapsedTime(began) < TimeSpan.FromSeconds(1), $"A charge by the API took {Stopwatch.GetElapsedTime(began)}.");
        }

        await service.Post("/api/credits/deduct", new { userId = user, actionType = "create_agent", quantity = 1000 }).ProblemAsync(402, "insufficient_credits");
        var told = await other.NextAsync("notification");
        Assert.Equal(("deduction_failed", told.Text("actionType")), (told.Text("type"), told.GetProperty("details").Text("actionType")));
    }

    [Fact]
    public async Task Whoever_comes_back_gets_each_entry_once_and_in_order_wherever_the_stream_broke_off()
    {
        var user = await host.Database.Account(1000);
        using var person = await host.UserAsync(user);
        await using var first = await EventStream.OpenAsync(person);
        await first.NextAsync("snapshot");
        await host.Database.Run(Charge, user, 1m);
        await first.UntilBalanceAsync(999);
        var id = first.LastId!;
        await first.DisposeAsync();

        for (var i = 0; i < 450; i++)
            await host.Database.Run(i % 10 == 0 ? "select credits.deduct_chat_message($1)" : Charge, i % 10 == 0 ? [user] : [user, 1m]);
        await host.Database.Run("select credits.read_notifications($1)", user);
        await host.Database.Run("select credits.deduct_credits_for_action($1, 'create_agent', 1000)", user);
        await host.Database.Run("select credits.deduct_credits_for_action($1, 'send_email', 9000)", user);

        // 405 charges, three notifications (two unread, one read), one balance.
        await using var whole = await EventStream.OpenAsync(person, lastEventId: id);
        var all = await whole.UntilBalanceAsync(594);
        await whole.QuietAsync();
        Assert.Equal(Enumerable.Range(3, 405), all.Where(e => e.Type == "entry" && e.Data.Text("creditType") == "credits").Select(e => (int)e.Data.Number("entryNo")));
        Assert.Equal(["create_agent", "send_email"], all.Where(e => e.Type == "notification" && e.Data.Text("readAt").Length == 0).Select(e => e.Data.Text("actionType")));
        Assert.Equal(all.Count, all.Select(e => e.Id).Distinct().Count());

        // Broken off after any event, the rest comes, by the header or by the query.
        foreach (var cut in new[] { 0, 1, 77, 199, 200, 404, all.Count - 4, all.Count - 3, all.Count - 2 })
        {
            await using var rest = cut % 2 == 0
                ? await EventStream.OpenAsync(person, lastEventId: all[cut].Id)
                : await EventStream.OpenAsync(person, $"?lastEventId={all[cut].Id}");
            Assert.Equal(Shown(all[(cut + 1)..]), Shown(await rest.UntilBalanceAsync(594)));
        }

        await using var last = await EventStream.OpenAsync(person, lastEventId: all[^1].Id);
        await last.QuietAsync();

        // In which order two wallets come is no promise.
        static List<string> Shown(IEnumerable<EventStream.Event> events) => [.. events.OrderBy(e => e.Data.Text("creditType"), StringComparer.Ordinal).Select(e => $"{e.Type} {e.Data}")];
    }

    [Fact]
    public async Task Entries_are_shown_though_they_were_archived_meanwhile()
    {
        var user = await host.Database.Account(100);
        using var person = await host.UserAsync(user);
        await using var first = await EventStream.OpenAsync(person);
        await first.NextAsync("snapshot");
        for (var i = 0; i < 5; i++)
            await host.Database.Run(Charge, user, 1m);
        await first.UntilBalanceAsync(95);
        await host.Database.Run(Charge, user, 1m);
        await host.Database.Run(Charge, user, 1m);
        await host.Database.Run(Charge, user, 1m);
        await first.UntilBalanceAsync(92);
        await first.DisposeAsync();
        await using var beginning = await EventStream.OpenAsync(person);
        var snapshotId = (await beginning.NextAsync()).Id;
        for (var i = 0; i < 3; i++)
            await host.Database.Run(Charge, user, 1m);
        await host.Database.Run("select credits.archive_ledger(credits.clock_now(), 100000)");
        await using var back = await EventStream.OpenAsync(person, lastEventId: snapshotId);
        Assert.Equal([10, 11, 12], (await back.UntilBalanceAsync(89)).Where(e => e.Type == "entry").Select(e => (int)e.Data.Number("entryNo")));
    }

    [Fact]
    public async Task A_wrong_or_forged_or_foreign_id_begins_anew_and_shows_nobody_elses_data()
    {
        var (me, other) = (await host.Database.Account(10), await host.Database.Account(20));
        using var person = await host.UserAsync(me);
        using var another = await host.UserAsync(other);
        await using var foreign = await EventStream.OpenAsync(another);
        var foreignId = (await foreign.NextAsync()).Id;
        await using var own = await EventStream.OpenAsync(person);
        var ownId = (await own.NextAsync()).Id;
        foreach (var wrong in new[]
        {
            "", "x", "1", "1.", "1.0.credits:1:1:1", foreignId, ownId + ".", ownId[..^1], ownId + "99999999999999999999", ownId + ":1:x",
            ownId + ".a:0:0:0:9", ownId.Replace("credits", "no_such", StringComparison.Ordinal), ownId.Replace(":1", ":-1", StringComparison.Ordinal),
            "2" + ownId[1..], new string('1', 9000), "1.%00.';--", ownId + ".credits:0:0:0:0:" + Guid.Empty,
        })
        {
            await using var stream = await EventStream.OpenAsync(person, lastEventId: wrong);
            var snapshot = await stream.NextAsync("snapshot");
            Assert.Equal(10, snapshot.GetProperty("balances")[0].Number("total"));
        }

        // What is well-formed and behind is the client's own business: it gets its own entries again.
        var behind = ownId[..(ownId.IndexOf("credits", StringComparison.Ordinal) + 7)] + ":0:0:0";
        await using var again = await EventStream.OpenAsync(person, lastEventId: behind);
        Assert.Equal(10, (await again.NextAsync("entry")).Number("amount"));
    }

    [Theory]
    [InlineData("1.TAG.credits\ndata:{}\n\nevent:\tx\n:0:0:0")]
    [InlineData("1.TAG.credits:0:0:0\r\nevent: end\r\ndata: {}\r\n\r\n")]
    [InlineData("1.TAG.cr\u2028edits:0:0:0")]
    [InlineData("1.TAG.cre\u0000dits:0:0:0")]
    [InlineData("1.TAG.Credits:0:0:0")]
    [InlineData("1.TAG.crédits:0:0:0")]
    [InlineData("1.TAG.credits:0:0:0.a\nb:0:0:0")]
    [InlineData("1.TAG.credits:\u0661:0:0")]
    [InlineData("1.TAG.credits:0:0:0:0:\n00000000000000000000000000000001")]
    [InlineData("1.TAG.credits: 0:0:0")]
    [InlineData("1.TAG.credits:0:0:0:0: 00000000000000000000000000000001")]
    public async Task A_forged_id_puts_no_line_of_its_own_into_the_stream(string id)
    {
        var user = await host.Database.Account(10);
        using var person = await host.UserAsync(user);
        await using var first = await EventStream.OpenAsync(person);
        var tag = (await first.NextAsync()).Id.Split('.')[1];

        // A header cannot have line breaks; the query can.
        var forged = Uri.EscapeDataString(id.Replace("TAG", tag, StringComparison.Ordinal));
        var refused = id.Contains('\0', StringComparison.Ordinal);
        if (refused)
        {
            await person.Get($"/api/usage/events?lastEventId={forged}").ProblemAsync(400, "invalid_argument");
            return;
        }

        await using var stream = await EventStream.OpenAsync(person, $"?lastEventId={forged}");
        var snapshot = await stream.NextAsync();
        Assert.Equal(("snapshot", 10m), (snapshot.Type, snapshot.Data.GetProperty("balances")[0].Number("total")));
        await host.Database.Run(Charge, user, 1m);
        var events = await stream.UntilBalanceAsync(9);
        Assert.Equal(["entry", "balance"], events.Select(e => e.Type));
        Assert.All(events.Prepend(snapshot), e => Assert.Matches($"^1\\.{tag}(\\.[a-z0-9_]+(:[0-9]+){{3,4}}(:[0-9a-f]{{32}})?)+$", e.Id));
    }

    [Fact]
    public async Task Notifications_come_once_when_they_are_told_told_again_and_read()
    {
        var user = await host.Database.Account(20);
        await host.Database.Run("select credits.set_threshold($1, 5)", user);
        using var person = await host.UserAsync(user);
        await using var stream = await EventStream.OpenAsync(person);
        await stream.NextAsync("snapshot");
        await host.Database.Run(Charge, user, 16m);
        await stream.NextAsync("entry");
        Assert.Equal("low_balance", (await stream.NextAsync("notification")).Text("type"));
        await stream.NextAsync("balance");
        for (var repeats = 1; repeats <= 2; repeats++)
        {
            await host.Database.Run(Charge, user, 16m);
            var told = await stream.NextAsync("notification");
            Assert.Equal((repeats, ""), ((int)told.Number("repeats"), told.Text("readAt")));
            await stream.NextAsync("balance");
        }

        Assert.Equal(2, (await host.Database.Json("select credits.read_notifications($1)", user)).Number("read"));
        var read = await stream.UntilAsync(e => e.Type == "balance");
        Assert.Equal(["deduction_failed", "low_balance"], read.Where(e => e.Type == "notification" && e.Data.Text("readAt").Length > 0).Select(e => e.Data.Text("type")).Order());

        // Between the two that were read at the same moment.
        await using var rest = await EventStream.OpenAsync(person, lastEventId: read[0].Id);
        Assert.Equal(read[1].Data.Text("notificationId"), (await rest.NextAsync("notification")).Text("notificationId"));
        await rest.NextAsync("balance");
        await rest.QuietAsync();

        await host.Database.Run(
            "select credits.complete_purchase($1, ((credits.create_purchase($1, (select package_id from credits.credit_packages order by 1 limit 1), 'sandbox')) ->> 'purchase_id')::uuid, 'p-1')", user);
        Assert.Contains(await stream.UntilAsync(e => e.Type == "notification"), e => e.Type == "notification" && e.Data.Text("type") == "purchase");
        await stream.NextAsync("balance");
    }

    [Fact]
    public async Task A_hold_and_a_suspension_and_a_changed_plan_and_a_new_wallet_are_shown()
    {
        var user = await host.Database.Account(20);
        using var person = await host.UserAsync(user);
        await using var stream = await EventStream.OpenAsync(person);
        await stream.NextAsync("snapshot");
        await host.Database.Run("select credits.reserve_credits($1, 'create_agent')", user);
        Assert.Equal("hold", (await stream.NextAsync("entry")).Text("kind"));
        Assert.Equal(5, (await stream.NextAsync("balance")).Number("held"));
        await host.Database.Run("select credits.suspend_account($1, 'why')", user);
        await stream.UntilAsync(e => e.Type == "balance");
        await host.Database.Run("select credits.reactivate_account($1)", user);
        await stream.UntilAsync(e => e.Type == "balance");
        await host.Database.Run("select credits.change_plan($1, 'free')", user);
        var events = await stream.UntilAsync(e => e.Type == "balance" && e.Data.Text("creditType") == "chat_messages" && e.Data.Number("total") == 20);
        Assert.Contains(events, e => e.Type == "balance" && e.Data.Text("creditType") == "credits" && e.Data.Number("monthly") == 100);
    }

    [Fact]
    public async Task A_reader_who_names_nobody_or_another_is_refused()
    {
        var (me, other) = (await host.Database.Account(1), await host.Database.Account(1));
        using var person = await host.UserAsync(me);
        await person.Get($"/api/usage/events?userId={other}").ProblemAsync(403, "another_user");
        await host.Service.Get("/api/usage/events").ProblemAsync(400, "user_required");
        await host.Service.Get($"/api/usage/events?userId={Guid.NewGuid()}").ProblemAsync(404, "unknown_account");
        await host.Anonymous().Get("/api/usage/events").ProblemAsync(401, "unauthenticated");
        await host.Admin.Get($"/api/usage/events?userId={me}").ProblemAsync(403, "forbidden");
        Assert.Equal(0, Watched(host.Services));
    }

    [Fact]
    public async Task A_browser_gives_its_token_in_the_query_and_no_log_has_it()
    {
        var log = new Recorder();
        var user = await host.Database.Account(7);
        await using var app = host.Configured(
            [("Logging:LogLevel:Default", "Trace"), ("Logging:LogLevel:Microsoft.AspNetCore", "Trace")], services => services.AddSingleton<ILoggerProvider>(log));
        var token = (await host.UserAsync(user)).DefaultRequestHeaders.Authorization!.Parameter!;
        using var browser = app.CreateClient();
        await using (var stream = await EventStream.OpenAsync(browser, $"?access_token={token}&lastEventId=x"))
            Assert.Equal(7, (await stream.NextAsync("snapshot")).GetProperty("balances")[0].Number("total"));
        await browser.Get($"/api/credits/balance?access_token={token}").ProblemAsync(401, "unauthenticated");
        await browser.Get($"/api/usage/events?access_token={token[..^3]}").ProblemAsync(401, "unauthenticated");
        await browser.Get("/api/usage/events?access_token=").ProblemAsync(401, "unauthenticated");
        var text = log.ToString();
        Assert.Contains("/api/usage/events", text, StringComparison.Ordinal);
        Assert.Contains("lastEventId", text, StringComparison.Ordinal);
        Assert.DoesNotContain(token[..20], text, StringComparison.Ordinal);
        Assert.DoesNotContain("access_token", text, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_stream_ends_with_its_token()
    {
        var user = await host.Database.Account(7);
        var tokens = host.Services.GetRequiredService<Host.Access.UserTokens>();
        var keyId = host.Service.DefaultRequestHeaders.Authorization!.Parameter!.Split('_')[1];
        var (token, _) = tokens.Mint(user, ["user"], keyId, TimeSpan.FromSeconds(2));
        using var person = host.Anonymous();
        person.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", token);
        await using var stream = await EventStream.OpenAsync(person);
        await stream.NextAsync("snapshot");
        Assert.Equal("token_expired", (await stream.NextAsync("end")).Text("reason"));
        await stream.Ended.WaitAsync(TimeSpan.FromSeconds(5), TestContext.Current.CancellationToken);

        // With a new token it goes on where it was.
        await host.Database.Run(Charge, user, 1m);
        using var renewed = await host.UserAsync(user);
        await using var back = await EventStream.OpenAsync(renewed, $"?lastEventId={stream.LastId}");
        Assert.Equal(-1, (await back.NextAsync("entry")).Number("amount"));
    }

    [Fact]
    public async Task A_revoked_key_ends_its_streams_and_those_of_its_tokens()
    {
        var user = await host.Database.Account(7);
        var key = await host.KeyAsync(["service"]);
        using var service = host.Anonymous();
        service.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", key);
        using var person = host.Anonymous();
        var minted = await service.Post("/api/tokens", new { userId = user }).JsonAsync();
        person.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", minted.Text("token"));
        await using var byKey = await EventStream.OpenAsync(service, $"?userId={user}");
        await using var byToken = await EventStream.OpenAsync(person);
        await using var untouched = await EventStream.OpenAsync(host.Service, $"?userId={user}");
        foreach (var stream in new[] { byKey, byToken, untouched })
            await stream.NextAsync("snapshot");
        var revoked = Stopwatch.GetTimestamp();
        await host.Admin.Delete($"/api/admin/keys/{key.Split('_')[1]}").JsonAsync();
        Assert.Equal("key_revoked", (await byKey.NextAsync("end")).Text("reason"));
        Assert.Equal("key_revoked", (await byToken.NextAsync("end")).Text("reason"));
        Assert.True(Stopwatch.GetElapsedTime(revoked) < TimeSpan.FromSeconds(8));
        await host.Database.Run(Charge, user, 1m);
        await untouched.NextAsync("entry");
    }

    [Fact]
    public async Task Streams_are_limited_by_user_and_by_key()
    {
        var (me, other) = (await host.Database.Account(7), await host.Database.Account(7));
        await using var app = host.Configured([("Live:StreamsPerUser", "2"), ("Live:StreamsPerKey", "3")]);
        using var service = app.CreateClient();
        service.DefaultRequestHeaders.Authorization = host.Service.DefaultRequestHeaders.Authorization;
        await using var first = await EventStream.OpenAsync(service, $"?userId={me}");
        await using var second = await EventStream.OpenAsync(service, $"?userId={me}");
        await service.Get($"/api/usage/events?userId={me}").ProblemAsync(429, "too_many_streams");
        await using var third = await EventStream.OpenAsync(service, $"?userId={other}");
        await service.Get($"/api/usage/events?userId={other}").ProblemAsync(429, "too_many_streams");
        await first.DisposeAsync();
        await Eventually.TrueAsync(() => Streams(app.Services) == 2, "The stream that was left was not noticed.");
        await using var fourth = await EventStream.OpenAsync(service, $"?userId={me}");
        await fourth.NextAsync("snapshot");
    }

    [Fact]
    public async Task A_silent_stream_carries_signs_of_life()
    {
        var user = await host.Database.Account(7);
        await using var app = host.Configured([("Live:HeartbeatSeconds", "1")]);
        using var service = app.CreateClient();
        service.DefaultRequestHeaders.Authorization = host.Service.DefaultRequestHeaders.Authorization;
        await using var stream = await EventStream.OpenAsync(service, $"?userId={user}");
        await stream.NextAsync("snapshot");
        await Eventually.TrueAsync(() => stream.Heartbeats >= 2, "There were no heartbeats.");
        await host.Database.Run(Charge, user, 1m);
        await stream.NextAsync("entry");
    }

    [Fact]
    public async Task Streams_end_at_once_when_the_host_stops()
    {
        var user = await host.Database.Account(7);
        var app = host.Configured([]);
        using var service = app.CreateClient();
        service.DefaultRequestHeaders.Authorization = host.Service.DefaultRequestHeaders.Authorization;
        await using var stream = await EventStream.OpenAsync(service, $"?userId={user}");
        await stream.NextAsync("snapshot");
        var began = Stopwatch.GetTimestamp();
        var stopping = app.DisposeAsync();
        Assert.Equal("shutdown", (await stream.NextAsync("end")).Text("reason"));
        await stopping;
        Assert.True(Stopwatch.GetElapsedTime(began) < TimeSpan.FromSeconds(3), $"It took {Stopwatch.GetElapsedTime(began)}.");
        Assert.InRange(stream.Retry, 1000, 5000);
    }

    [Fact]
    public async Task A_user_who_is_charged_all_the_time_is_shown_every_entry_and_few_balances()
    {
        var user = await host.Database.Account(1000);
        using var person = await host.UserAsync(user);
        await using var stream = await EventStream.OpenAsync(person);
        await stream.NextAsync("snapshot");
        var began = Stopwatch.GetTimestamp();
        await Task.WhenAll(Enumerable.Range(0, 8).Select(async _ =>
        {
            await using var connection = await host.Database.Source.OpenConnectionAsync();
            for (var i = 0; i < 50; i++)
                await connection.Run(Charge, user, 1m);
        }));
        var all = await stream.UntilBalanceAsync(600);
        var took = Stopwatch.GetElapsedTime(began);
        Assert.Equal(Enumerable.Range(2, 400), all.Where(e => e.Type == "entry").Select(e => (int)e.Data.Number("entryNo")));
        Assert.InRange(all.Count(e => e.Type == "balance"), 1, 2 + (took / TimeSpan.FromMilliseconds(100)));
    }

    [Fact]
    public async Task The_metrics_count()
    {
        var seen = new Dictionary<string, double>();
        using var listener = new MeterListener { InstrumentPublished = (instrument, l) => { if (instrument.Name.StartsWith("creditdb.live.", StringComparison.Ordinal)) l.EnableMeasurementEvents(instrument); } };
        void Add(string name, double value)
        {
            lock (seen)
                seen[name] = seen.GetValueOrDefault(name) + value;
        }

        listener.SetMeasurementEventCallback<long>((instrument, value, _, _) => Add(instrument.Name, value));
        listener.SetMeasurementEventCallback<double>((instrument, value, _, _) => Add(instrument.Name, value));
        listener.Start();
        var user = await host.Database.Account(10);
        await using var app = host.Configured([]);
        using var service = app.CreateClient();
        service.DefaultRequestHeaders.Authorization = host.Service.DefaultRequestHeaders.Authorization;
        await using (var stream = await EventStream.OpenAsync(service, $"?userId={user}"))
        {
            await stream.NextAsync("snapshot");
            await host.Database.Run(Charge, user, 1m);
            await stream.UntilBalanceAsync(9);
        }

        await Eventually.TrueAsync(() => Streams(app.Services) == 0, "The stream that was left was not noticed.");
        lock (seen)
        {
            Assert.True(seen["creditdb.live.events"] >= 3);
            Assert.True(seen["creditdb.live.lag"] > 0);
            Assert.Contains("creditdb.live.subscribers", seen.Keys);
        }
    }

    internal static int Streams(IServiceProvider services) => services.GetRequiredService<LiveUpdates>().Streams;

    private static int Watched(IServiceProvider services) => Streams(services);

    private sealed class Recorder : ILoggerProvider, ILogger
    {
        private readonly System.Text.StringBuilder _text = new();

        public ILogger CreateLogger(string categoryName) => this;

        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull
        {
            Write(state as IEnumerable<KeyValuePair<string, object?>> is { } pairs ? string.Join(' ', pairs) : state.ToString());
            return null;
        }

        public bool IsEnabled(LogLevel logLevel) => true;

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter) =>
            Write(formatter(state, exception) + exception + (state as IEnumerable<KeyValuePair<string, object?>> is { } pairs ? string.Join(' ', pairs) : ""));

        public void Dispose()
        {
        }

        public override string ToString()
        {
            lock (_text)
                return _text.ToString();
        }

        private void Write(string? line)
        {
            lock (_text)
                _text.AppendLine(line);
        }
    }
}

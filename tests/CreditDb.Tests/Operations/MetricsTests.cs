using System.Diagnostics.Metrics;
using System.Globalization;
using System.Text.Json;
using System.Text.RegularExpressions;
using CreditDb.Host.Operations;
using CreditDb.Tests.Api;

namespace CreditDb.Tests.Operations;

/// <summary>What /metrics says. Alone, as every host in a process counts into the same instruments.</summary>
[Collection(nameof(Alone))]
public sealed partial class MetricsTests(ApiHost host) : IClassFixture<ApiHost>
{
    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Operators_read_them_and_others_only_where_they_are_open()
    {
        await host.Anonymous().Get("/metrics").ProblemAsync(401, "unauthenticated");
        await host.Service.Get("/metrics").ProblemAsync(403, "forbidden");
        await ScrapeAsync(host.Admin);
        await using var open = host.Configured([("Operations:MetricsAreOpen", "true")]);
        await ScrapeAsync(open.CreateClient());
    }

    [Fact]
    public async Task On_the_machine_itself_they_are_open_but_not_through_a_proxy_there()
    {
        using var process = HostProcess.Start([], new Dictionary<string, string?> { ["ConnectionStrings__CreditDb"] = host.Database.ConnectionString });
        using var client = new HttpClient { BaseAddress = await process.AddressAsync() };
        Assert.Contains("dotnet_gc_collections_total", (await ScrapeAsync(client)).Names);
        await client.Send(HttpMethod.Get, "/metrics", null, ("X-Forwarded-For", "10.1.2.3")).ProblemAsync(401, "unauthenticated");
        Assert.Equal(0, (await process.TerminateAsync()).ExitCode);
    }

    [Fact]
    public async Task Charges_and_declines_are_counted_once_each()
    {
        var action = "metered_" + Guid.NewGuid().ToString("N");
        await host.Database.Run("select credits.set_cost($1, 1.5)", action);
        var user = await host.Database.Account(10);
        var before = await ScrapeAsync(host.Admin);

        for (var i = 0; i < 2; i++)
            await host.Service.Post("/api/credits/deduct", new { userId = user, actionType = action, quantity = 2 }, "the same key").JsonAsync();
        await host.Service.Post("/api/credits/deduct", new { userId = user, actionType = action, quantity = 100 }).ProblemAsync(402, "insufficient_credits");
        await host.Service.Post("/api/credits/deduct", new { userId = user, actionType = action, quantity = -1 }).ProblemAsync(400, "invalid_argument");
        var client = new CreditClient(host.Database.Source);
        await client.DeductBatchAsync([new(user, action), new(user, action, 1000), new(user, "no_" + action)], Ct);
        var hold = await client.ReserveAsync(user, action, 2, ct: Ct);
        await client.CommitReservationAsync(user, hold.ReservationId, 1, ct: Ct);

        var after = await ScrapeAsync(host.Admin);
        Assert.Equal("counter", after.TypeOf("creditdb_credits_deducted_total"));
        Assert.Equal(3 + 1.5 + 1.5, after[$$"""creditdb_credits_deducted_total{action_type="{{action}}"}"""]);
        Assert.True(after["""creditdb_declines_total{code="insufficient_credits"}"""] >= before["""creditdb_declines_total{code="insufficient_credits"}"""] + 2);
        Assert.DoesNotContain(after.Series, s => s.Contains("no_" + action, StringComparison.Ordinal) || s.Contains($"{user}", StringComparison.Ordinal));

        const string deduct = "creditdb_operation_duration_seconds_bucket{operation=\"deduct_credits_for_action\",outcome=";
        foreach (var outcome in new[] { "ok", "insufficient_credits", "invalid_argument" })
        {
            double[] buckets = [.. after.Series.Where(s => s.StartsWith($"{deduct}\"{outcome}\",", StringComparison.Ordinal)).OrderBy(Bound).Select(s => after[s])];
            Assert.Equal(15, buckets.Length);
            Assert.Equal(buckets.Order(), buckets);
            var labels = $$"""{operation="deduct_credits_for_action",outcome="{{outcome}}"}""";
            Assert.Equal(after["creditdb_operation_duration_seconds_count" + labels], buckets[^1]);
            Assert.True(buckets[^1] > before["creditdb_operation_duration_seconds_count" + labels]);
            Assert.True(after["creditdb_operation_duration_seconds_sum" + labels] > 0);
        }
    }

    [Fact]
    public async Task Everything_is_written_as_Prometheus_reads_it()
    {
        using var meter = new Meter("CreditDb.Odd");
        var counter = meter.CreateCounter<long>("odd.things", "By", "Tells of \\ and\nlines.");
        counter.Add(2, new("a.b", "say \"hi\"\n\\o/"), new("flag", true));
        counter.Add(1, new("a.b", "x"), new("a-b", "y"));
        meter.CreateUpDownCounter<int>("odd.level", "{thing}").Add(-3);
        meter.CreateObservableGauge("odd.share", () => 0.25, "1");
        meter.CreateObservableGauge("odd.infinite", () => double.PositiveInfinity);
        var histogram = meter.CreateHistogram("odd.wait", "ms", null, null, new InstrumentAdvice<double> { HistogramBucketBoundaries = [1, 10] });
        foreach (var value in new[] { 0.5, 1, 2, 200 })
            histogram.Record(value);

        var page = await ScrapeAsync(host.Admin);

        Assert.Equal(("counter", "gauge", "gauge", "histogram"),
            (page.TypeOf("odd_things_bytes_total"), page.TypeOf("odd_level"), page.TypeOf("odd_share_ratio"), page.TypeOf("odd_wait_milliseconds")));
        Assert.Equal(2, page["""odd_things_bytes_total{a_b="say \"hi\"\n\\o/",flag="true"}"""]);
        Assert.Equal(1, page["""odd_things_bytes_total{a_b="y;x"}"""]);
        Assert.Equal((-3, 0.25, double.PositiveInfinity), (page["odd_level"], page["odd_share_ratio"], page["odd_infinite"]));
        Assert.Equal((2, 3, 4, 4, 203.5), (page["""odd_wait_milliseconds_bucket{le="1"}"""], page["""odd_wait_milliseconds_bucket{le="10"}"""],
            page["""odd_wait_milliseconds_bucket{le="+Inf"}"""], page["odd_wait_milliseconds_count"], page["odd_wait_milliseconds_sum"]));
    }

    [Theory]
    [InlineData("creditdb.declines", "{decline}", "counter", "creditdb_declines_total")]
    [InlineData("x.total", "", "counter", "x_total")]
    [InlineData("x.seconds", "s", "gauge", "x_seconds")]
    [InlineData("9-x", "%", "gauge", "_9_x_percent")]
    public void A_name_is_made_of_name_unit_and_type(string metric, string unit, string type, string name) =>
        Assert.Equal(name, PrometheusExporter.NameOf(metric, unit, type));

    [Fact]
    public async Task Many_scrape_at_once_while_others_charge()
    {
        var user = await host.Database.Account(1000);
        await Task.WhenAll(Enumerable.Range(0, 16).Select(async i =>
        {
            for (var n = 0; n < 10; n++)
            {
                if (i % 2 == 0)
                    Assert.Contains("creditdb_operation_duration_seconds_count", (await ScrapeAsync(host.Admin)).Names);
                else
                    await host.Service.Post("/api/credits/deduct", new { userId = user, actionType = "send_email" }).JsonAsync();
            }
        }));
    }

    [Fact]
    public void A_call_that_is_measured_allocates_nothing_for_it()
    {
        using var listener = new MeterListener { InstrumentPublished = (instrument, self) => { if (instrument.Meter.Name == Measures.MeterName) self.EnableMeasurementEvents(instrument); } };
        var measured = 0;
        listener.SetMeasurementEventCallback<double>((_, _, _, _) => measured++);
        listener.Start();
        const string sql = "select credits.deduct_credits_for_action($1)";
        var charge = new Charge { Success = true, Code = "ok", ActionType = "allocation", CreditsDeducted = 1 };
        void Measure()
        {
            for (var i = 0; i < 1000; i++)
                Measures.Returned(Measures.Start(), sql, charge);
        }

        Measure();
        var before = GC.GetAllocatedBytesForCurrentThread();
        Measure();
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 1000);
        Assert.True(measured >= 4000);
    }

    [Fact]
    public async Task The_dashboard_asks_for_metrics_that_there_are()
    {
        using var process = HostProcess.Start([], new Dictionary<string, string?> { ["ConnectionStrings__CreditDb"] = host.Database.ConnectionString });
        using var service = new HttpClient { BaseAddress = await process.AddressAsync() };
        service.DefaultRequestHeaders.Authorization = host.Service.DefaultRequestHeaders.Authorization;
        await service.Post("/api/credits/deduct", new { userId = await host.Database.Account(1), actionType = "create_agent" }).ProblemAsync(402, "insufficient_credits");
        await service.Post("/api/credits/deduct", new { userId = await host.Database.Account(5), actionType = "create_agent" }).JsonAsync();
        service.DefaultRequestHeaders.Authorization = null;
        var shown = (await ScrapeAsync(service)).Names;
        var declared = Directory.EnumerateFiles(Path.Combine(Pages.Repository, "src"), "*.cs", SearchOption.AllDirectories)
            .SelectMany(file => Instrument().Matches(File.ReadAllText(file)).Select(m => m.Groups[1].Value)).ToHashSet(StringComparer.Ordinal);

        var dashboard = JsonDocument.Parse(await File.ReadAllTextAsync(Path.Combine(Pages.Repository, "docs/grafana-dashboard.json"), Ct)).RootElement;
        string[] queries = [.. Strings(dashboard, "expr")];
        Assert.True(queries.Length > 10);
        var operations = await File.ReadAllTextAsync(Path.Combine(Pages.Repository, "docs/operations.md"), Ct);
        string[] alerts = [.. operations.Split("expr: ").Skip(1).Select(part => part.Split('\n')[0])];
        Assert.True(alerts.Length > 5);

        var asked = queries.Concat(alerts).SelectMany(NamesIn).Distinct(StringComparer.Ordinal).ToList();
        Assert.Contains("creditdb_operation_duration_seconds_bucket", asked);
        Assert.Equal([], asked.Where(name => !shown.Contains(name) && !declared.Any(d => IsOf(name, d))));
        Assert.All(queries.Concat(alerts), q => Assert.Equal(q.Count(c => c == '('), q.Count(c => c == ')')));
    }

    private static async Task<Page> ScrapeAsync(HttpClient client)
    {
        using var answer = await client.Get("/metrics");
        var text = await answer.Content.ReadAsStringAsync(Ct);
        Assert.True(answer.IsSuccessStatusCode, text);
        Assert.Equal("text/plain; version=0.0.4; charset=utf-8", answer.Content.Headers.ContentType!.ToString());
        return new Page(text);
    }

    private static double Bound(string series) =>
        Le().Match(series).Groups[1].Value is var bound and not "+Inf" ? double.Parse(bound, CultureInfo.InvariantCulture) : double.PositiveInfinity;

    private static IEnumerable<string> NamesIn(string query) =>
        Name().Matches(Labels().Replace(query, "")).Select(m => m.Value).Where(n => n.Contains('_', StringComparison.Ordinal) && !n.Contains("__", StringComparison.Ordinal))
            .Where(n => n is not ("histogram_quantile" or "sum_over_time" or "avg_over_time" or "max_over_time" or "label_replace"));

    private static bool IsOf(string name, string instrument) =>
        name.StartsWith(instrument.Replace('.', '_'), StringComparison.Ordinal) && Ending().IsMatch(name[instrument.Length..]);

    private static IEnumerable<string> Strings(JsonElement element, string property) => element.ValueKind switch
    {
        JsonValueKind.Object => element.EnumerateObject().SelectMany(p => p.Name == property ? [p.Value.GetString()!] : Strings(p.Value, property)),
        JsonValueKind.Array => element.EnumerateArray().SelectMany(e => Strings(e, property)),
        _ => [],
    };

    [GeneratedRegex("""Create(?:Observable)?(?:Counter|UpDownCounter|Gauge|Histogram)(?:<\w+>)?\(\s*"([a-z._]+)""")]
    private static partial Regex Instrument();

    [GeneratedRegex("""[{\[][^}\]]*[}\]]|(by|without|on|ignoring|group_left|group_right) *\([^)]*\)|"[^"]*"|\$\w+""")]
    private static partial Regex Labels();

    [GeneratedRegex("[a-zA-Z_:][a-zA-Z0-9_:]*")]
    private static partial Regex Name();

    [GeneratedRegex("^(_seconds|_bytes|_ratio)?(_total|_bucket|_sum|_count)?$")]
    private static partial Regex Ending();

    [GeneratedRegex("le=\"([^\"]+)\"")]
    private static partial Regex Le();
}

[CollectionDefinition(nameof(Alone), DisableParallelization = true)]
public sealed class Alone;

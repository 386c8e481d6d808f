using System.Collections.Concurrent;
using System.Diagnostics.Metrics;
using CreditDb.Host.Work;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;

namespace CreditDb.Tests.Work;

/// <summary>The hosted service: it does all jobs, waits for a database that is away, and shares the work.</summary>
public sealed class WorkerTests(TestServer server) : IAsyncLifetime
{
    private readonly TestDatabase _db = new(server);

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    public ValueTask InitializeAsync() => _db.InitializeAsync();

    public ValueTask DisposeAsync() => _db.DisposeAsync();

    [Fact]
    public async Task All_jobs_are_done_and_measured()
    {
        var user = await _db.Account(1000);
        await _db.Run("select credits.deduct_credits_for_action($1, 'create_agent', 30)", user);
        await _db.Run("select credits.grant_credits($1, 5, 'trial', clock_timestamp() + interval '1 day', p_idempotency_key => 'k')", user);
        // Each job another wallet's: whoever comes first to one settles it.
        await _db.Run("select credits.reserve_credits($1, 'send_email', p_ttl => '1 second')", await _db.Account(10));
        await _db.Run("select credits.create_purchase($1, (select min(package_id) from credits.credit_packages), 'stripe')", await _db.Account());
        await _db.Run("update credits.credit_purchases set created_at = created_at - interval '25 hours'");
        await _db.Run("update credits.charge_keys set expires_at = clock_timestamp() - interval '2 hours' where source = 'caller'");

        using var worker = new Started(_db.ConnectionString, Hurried);
        await worker.StartAsync();
        await Eventually.TrueAsync(
            async () => (await _db.Column<string>(
                """
                select 'lapsed' from credits.credit_reservations where status = 'lapsed'
                union all select 'expired' from credits.credit_purchases where failure_reason = 'expired'
                union all select 'told' from credits.notifications where type = 'expiring_soon'
                union all select 'rolled up' from credits.usage_daily where uses > 0
                union all select 'alert' from credits.alerts where kind = 'high_usage'
                union all select 'forgotten' where not exists (select from credits.charge_keys where source = 'caller')
                union all select 'verified' from credits.worker_sweeps where job = 'verify' and ended_at is not null
                """)).Count == 7,
            "The worker left something undone.");
        await worker.StopAsync();

        Assert.Equal(Job.All.Select(j => j.Name).Order(), worker.Runs.Where(r => r.Outcome == "ok").Select(r => r.Job).Distinct().Order());
        Assert.DoesNotContain(worker.Runs, r => r.Outcome is "failed" or "away");
        Assert.Equal(1, worker.Items.Where(i => i.Job == "purchases").Sum(i => i.Count));
        Assert.Equal(1, worker.Items.Where(i => i.Job == "settle").Sum(i => i.Count));
        Assert.Equal(1, worker.Items.Where(i => i.Job == "keys").Sum(i => i.Count));
        var alert = Assert.Single(worker.Logs, log => log.Text.StartsWith("Alert", StringComparison.Ordinal));
        Assert.Equal(LogLevel.Warning, alert.Level);
        Assert.Contains($"high_usage: user {user}, credits", alert.Text, StringComparison.Ordinal);
        Assert.DoesNotContain(worker.Logs, log => log.Level >= LogLevel.Error);
    }

    [Fact]
    public async Task The_gauges_tell_lag_and_open_discrepancies()
    {
        _db.BooksAreDamaged = true;
        var user = await _db.Account(10);
        await _db.Run("update credits.wallets set held = 1 where user_id = $1 and credit_type = 'credits'", user);
        using var worker = new Started(_db.ConnectionString, Hurried);
        await worker.StartAsync();
        await Eventually.TrueAsync(() => worker.Logs.Any(log => log.Text.Contains("discrepancy: user", StringComparison.Ordinal)), "No alert was logged.");
        var state = await worker.Service.ObserveAsync(Cancellation);
        await worker.StopAsync();
        worker.ReadGauges();
        Assert.Equal(2, state.OpenAlerts["discrepancy"]);
        Assert.Equal(2, worker.Gauges["creditdb.ledger.discrepancies"]);
        Assert.Equal(2, worker.Gauges["creditdb.alerts.open discrepancy"]);
        Assert.Equal(
            new[] { "anomalies", "keys", "purchases", "rollups", "settle", "verify" },
            worker.Gauges.Keys.Where(k => k.StartsWith("creditdb.worker.lag ", StringComparison.Ordinal)).Select(k => k.Split(' ')[1]).Order());
    }

    [Fact]
    public async Task A_database_that_goes_and_returns_is_two_lines_in_the_log_and_the_work_goes_on()
    {
        await using var cable = new Cable(_db.ConnectionString);
        using var worker = new Started(cable.ConnectionString, Hurried);
        await worker.StartAsync();
        await Eventually.TrueAsync(() => worker.Runs.Count(r => r.Outcome == "ok") > 20, "The worker does not work.");

        await cable.CutAsync();
        await Eventually.TrueAsync(() => worker.Runs.Count >= 0 && worker.Logs.Any(Went), "Nobody noticed that the database went.");
        await Task.Delay(4000, Cancellation);
        var user = await _db.Account(10);
        await _db.Run("select credits.reserve_credits($1, 'send_email', p_ttl => '1 second')", user);
        Assert.DoesNotContain(worker.Logs, Returned);
        cable.Join();
        await Eventually.TrueAsync(async () => await _db.Value<long>("select count(*) from credits.credit_reservations where status = 'lapsed'") == 1, "The worker did not go on.");
        await Eventually.TrueAsync(() => Job.All.All(job => worker.Runs.Last(r => r.Job == job.Name).Outcome == "ok"), "Not all jobs went on.");
        await worker.StopAsync();

        Assert.Single(worker.Logs, Went);
        Assert.Single(worker.Logs, Returned);
        Assert.DoesNotContain(worker.Logs, log => log.Level >= LogLevel.Error);
        Assert.Contains(worker.Runs, r => r.Outcome == "away");
        Assert.DoesNotContain(worker.Runs, r => r.Outcome == "failed");

        static bool Went(Line log) => log.Text.StartsWith("The database cannot be reached", StringComparison.Ordinal);
        static bool Returned(Line log) => log.Text.StartsWith("The database is back", StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_worker_that_starts_while_the_database_is_away_waits_for_it_and_stops_at_once()
    {
        await using var cable = new Cable(_db.ConnectionString);
        await cable.CutAsync();
        using var worker = new Started(cable.ConnectionString, Hurried);
        await worker.StartAsync();
        await Eventually.TrueAsync(() => !worker.Logs.IsEmpty && worker.Logs.Any(l => l.Level == LogLevel.Warning), "Nothing was said.");
        var began = TimeProvider.System.GetTimestamp();
        await worker.StopAsync();
        Assert.True(TimeProvider.System.GetElapsedTime(began) < TimeSpan.FromSeconds(5));
    }

    [Fact]
    public async Task A_job_that_fails_is_logged_and_tried_again_and_the_others_go_on()
    {
        await _db.Run("alter function credits.settle_due_wallets(integer) rename to settle_no_wallets");
        using var worker = new Started(_db.ConnectionString, Hurried);
        await worker.StartAsync();
        await Eventually.TrueAsync(() => worker.Runs.Count(r => r is { Job: "settle", Outcome: "failed" }) >= 2, "It was not tried again.");
        await _db.Run("alter function credits.settle_no_wallets(integer) rename to settle_due_wallets");
        await Eventually.TrueAsync(() => Job.All.All(job => worker.Runs.Contains((job.Name, "ok"))), "It did not recover, or the others did not go on.");
        await worker.StopAsync();
        Assert.Contains(worker.Logs, log => log is { Level: LogLevel.Error } && log.Text.StartsWith("The job settle failed", StringComparison.Ordinal));
        Assert.DoesNotContain(worker.Runs, r => r.Outcome == "failed" && r.Job != "settle");
    }

    [Fact]
    public async Task Three_workers_do_everything_once()
    {
        for (var i = 0; i < 60; i++)
        {
            var user = await _db.Account(100);
            await _db.Run("select credits.deduct_credits_for_action($1, 'send_email')", user);
            await _db.Run("select credits.reserve_credits($1, 'send_email', p_ttl => '1 second')", user);
            // Another user's: whoever expires a purchase settles its wallet too.
            await _db.Run("select credits.create_purchase($1, (select min(package_id) from credits.credit_packages), 'stripe')", await _db.Account());
        }
        await _db.Run("update credits.credit_purchases set created_at = created_at - interval '25 hours'");
        var workers = Enumerable.Range(0, 3).Select(_ => new Started(_db.ConnectionString, Hurried)).ToList();
        foreach (var worker in workers)
            await worker.StartAsync();
        await Eventually.TrueAsync(async () => await _db.Value<long>(
            """
            select (select count(*) from credits.credit_reservations where status = 'held') + (select count(*) from credits.credit_purchases where status = 'pending')
              + (select count(*) from credits.wallets w left join credits.usage_rollups r using (user_id, credit_type) where w.entry_no > coalesce(r.entry_no, 0))
            """) == 0, "Something was left.");
        await Task.WhenAll(workers.Select(w => w.StopAsync()));
        Assert.Equal(60, workers.Sum(w => w.Items.Where(i => i.Job == "settle").Sum(i => i.Count)));
        Assert.Equal(60, workers.Sum(w => w.Items.Where(i => i.Job == "purchases").Sum(i => i.Count)));
        Assert.Equal(60, workers.Sum(w => w.Items.Where(i => i.Job == "rollups").Sum(i => i.Count)));
        Assert.DoesNotContain(workers.SelectMany(w => w.Runs), r => r.Outcome == "failed");
        foreach (var worker in workers)
            worker.Dispose();
    }

    [Fact]
    public async Task A_worker_that_is_switched_off_does_nothing()
    {
        using var worker = new Started(_db.ConnectionString, [.. Hurried, ("Worker:Enabled", "false")]);
        await worker.StartAsync();
        await worker.Service.ExecuteTask!.WaitAsync(Cancellation);
        await worker.StopAsync();
        Assert.Empty(worker.Runs);
    }

    [Theory]
    [InlineData("Worker:Intervals:setle", "00:01:00", "setle names no job")]
    [InlineData("Worker:Intervals:settle", "00:00:00.5", "must be 00:00:01")]
    [InlineData("Worker:Intervals:settle", "32.00:00:00", "must be 00:00:01")]
    [InlineData("Worker:PurchaseAge", "00:00:59", "PurchaseAge")]
    [InlineData("Worker:ExpiryNotice", "367.00:00:00", "ExpiryNotice")]
    public async Task Settings_that_make_no_sense_stop_the_start_with_a_sentence(string name, string value, string problem)
    {
        using var worker = new Started(_db.ConnectionString, [(name, value)]);
        var error = await Assert.ThrowsAsync<OptionsValidationException>(worker.StartAsync);
        Assert.Contains(problem, error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("Worker:Interval", "00:01:00")]
    [InlineData("Worker:PurchaseAge", "a day")]
    public async Task Settings_that_cannot_be_read_stop_the_start(string name, string value)
    {
        using var worker = new Started(_db.ConnectionString, [(name, value)]);
        await Assert.ThrowsAsync<InvalidOperationException>(worker.StartAsync);
    }

    private static (string Name, string Value)[] Hurried => [.. Job.All.Select(job => ($"Worker:Intervals:{job.Name}", "00:00:01"))];

    private sealed record Line(LogLevel Level, string Text);

    /// <summary>A host with a worker, and what it said and measured.</summary>
    private sealed class Started : ILoggerProvider, ILogger
    {
        private readonly IHost _host;
        private readonly MeterListener _listener = new();

        public Started(string connectionString, (string Name, string Value)[] settings)
        {
            var builder = new HostApplicationBuilder();
            builder.Configuration.AddInMemoryCollection(settings.Select(s => KeyValuePair.Create(s.Name, (string?)s.Value)));
            builder.Logging.ClearProviders().AddProvider(this);
            builder.Services.AddCreditDb(connectionString);
            builder.Services.AddWorker(builder.Configuration);
            _host = builder.Build();
            var factory = _host.Services.GetRequiredService<IMeterFactory>();
            _listener.InstrumentPublished = (instrument, listener) =>
            {
                if (instrument.Meter.Scope == factory && instrument.Name.StartsWith("creditdb.", StringComparison.Ordinal))
                    listener.EnableMeasurementEvents(instrument);
            };
            _listener.SetMeasurementEventCallback<long>((instrument, value, tags, _) => Measured(instrument.Name, value, tags));
            _listener.SetMeasurementEventCallback<double>((instrument, value, tags, _) => Measured(instrument.Name, value, tags));
            _listener.Start();
        }

        public ConcurrentQueue<Line> Logs { get; } = [];

        public ConcurrentQueue<(string Job, string Outcome)> Runs { get; } = [];

        public ConcurrentQueue<(string Job, double Count)> Items { get; } = [];

        public ConcurrentDictionary<string, double> Gauges { get; } = [];

        public Worker Service => _host.Services.GetRequiredService<Worker>();

        public Task StartAsync() => _host.StartAsync(Cancellation);

        public Task StopAsync() => _host.StopAsync(Cancellation);

        public void ReadGauges() => _listener.RecordObservableInstruments();

        public ILogger CreateLogger(string categoryName) => categoryName.StartsWith("CreditDb", StringComparison.Ordinal) ? this : Microsoft.Extensions.Logging.Abstractions.NullLogger.Instance;

        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => logLevel >= LogLevel.Information;

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter) =>
            Logs.Enqueue(new Line(logLevel, formatter(state, exception)));

        public void Dispose()
        {
            _listener.Dispose();
            _host.Dispose();
        }

        private void Measured(string instrument, double value, ReadOnlySpan<KeyValuePair<string, object?>> tags)
        {
            var texts = tags.ToArray().Select(t => t.Value?.ToString() ?? "").ToList();
            switch (instrument)
            {
                case "creditdb.worker.runs":
                    Runs.Enqueue((texts[0], texts[1]));
                    break;
                case "creditdb.worker.items":
                    Items.Enqueue((texts[0], value));
                    break;
                case "creditdb.worker.duration":
                    break;
                default:
                    Gauges[string.Join(' ', texts.Prepend(instrument))] = value;
                    break;
            }
        }
    }
}

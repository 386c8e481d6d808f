using System.Collections.Concurrent;
using System.Diagnostics.Metrics;

namespace CreditDb.Host.Work;

/// <summary>What the worker tells of itself, on the meter CreditDb.</summary>
internal sealed class WorkerMetrics
{
    private readonly Counter<long> _runs;
    private readonly Counter<long> _items;
    private readonly Histogram<double> _duration;
    private readonly ConcurrentDictionary<string, double> _lag = new();
    private readonly ConcurrentDictionary<string, long> _openAlerts = new();

    public WorkerMetrics(Meter meter)
    {
        _runs = meter.CreateCounter<long>("creditdb.worker.runs", "{run}", "Runs of a job, by outcome: ok, failed, away (the database was) or stopped.");
        _items = meter.CreateCounter<long>("creditdb.worker.items", "{item}", "What a job did: wallets settled, purchases expired, users told, entries rolled up, wallets looked at, keys deleted, accounts verified.");
        _duration = meter.CreateHistogram<double>("creditdb.worker.duration", "s", "How long a run of a job took.");
        meter.CreateObservableGauge(
            "creditdb.worker.lag",
            () => _lag.Select(l => new Measurement<double>(l.Value, new KeyValuePair<string, object?>("job", l.Key))),
            "s",
            "By how much the oldest thing that is due is late.");
        meter.CreateObservableGauge(
            "creditdb.ledger.discrepancies",
            () => _openAlerts.TryGetValue("discrepancy", out var open) ? [new Measurement<long>(open)] : Array.Empty<Measurement<long>>(),
            "{alert}",
            "Open alerts of discrepancies in the books; anything but 0 is wrong.");
        meter.CreateObservableGauge(
            "creditdb.alerts.open",
            () => _openAlerts.Select(a => new Measurement<long>(a.Value, new KeyValuePair<string, object?>("kind", a.Key))),
            "{alert}",
            "Open alerts, by kind.");
    }

    public void Ran(Job job, string outcome, TimeSpan duration)
    {
        var name = new KeyValuePair<string, object?>("job", job.Name);
        _runs.Add(1, name, new("outcome", outcome));
        _duration.Record(duration.TotalSeconds, name, new("outcome", outcome));
    }

    public void Did(Job job, long items) => _items.Add(items, new KeyValuePair<string, object?>("job", job.Name));

    public void Observe(WorkerState state)
    {
        foreach (var (job, seconds) in state.Lag)
            _lag[job] = seconds;
        foreach (var (kind, open) in state.OpenAlerts)
            _openAlerts[kind] = open;
    }
}

using System.Diagnostics.Metrics;

namespace CreditDb.Host.Live;

/// <summary>What operators see of live updates.</summary>
internal sealed class LiveMetrics
{
    private readonly UpDownCounter<long> _subscribers;
    private readonly Counter<long> _events;
    private readonly Counter<long> _dropped;
    private readonly Histogram<double> _lag;

    public LiveMetrics(IMeterFactory meters)
    {
        var meter = meters.Create("CreditDb");
        _subscribers = meter.CreateUpDownCounter<long>("creditdb.live.subscribers", "{stream}", "Open streams of live updates.");
        _events = meter.CreateCounter<long>("creditdb.live.events", "{event}", "Events sent, by type.");
        _dropped = meter.CreateCounter<long>("creditdb.live.dropped", "{stream}", "Streams ended because their reader did not read.");
        _lag = meter.CreateHistogram<double>("creditdb.live.lag", "s", "From the writing of a charge to its reading for those who watch, by the database's clock.");
    }

    public void Opened() => _subscribers.Add(1);

    public void Closed() => _subscribers.Add(-1);

    public void Dropped() => _dropped.Add(1);

    public void Sent(LiveBatch batch)
    {
        foreach (var (type, count) in batch.Counts)
            _events.Add(count, new KeyValuePair<string, object?>("type", type));
    }

    /// <summary>What falls due is dated when it fell due, so only charges tell how late one is.</summary>
    public void Read(LiveChanges changes)
    {
        if (!changes.IsSnapshot && changes.Wallets.SelectMany(w => w.Entries).FirstOrDefault(e => e.Kind == "usage") is { } oldest)
            _lag.Record(Math.Max(0, (changes.Now - oldest.CreatedAt).TotalSeconds));
    }
}

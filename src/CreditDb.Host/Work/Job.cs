namespace CreditDb.Host.Work;

/// <summary>
/// One of the worker's jobs. A slice is one call of one SQL function, which does a bounded amount and shares the work with other hosts. The interval is
/// how often the job is done; of a sweep through all users, which the database keeps track of, by all hosts together.
/// </summary>
internal sealed record Job(string Name, string Description, TimeSpan Interval, bool IsSweep, Job.DoSlice Slice)
{
    /// <summary>Does a slice. A sweep begins every so often; null: at once. Counting functions are done when they return 0.</summary>
    public delegate Task<SweepSlice> DoSlice(CreditClient client, WorkerOptions options, TimeSpan? every, CancellationToken ct);

    /// <summary>All jobs, in the order in which work --once runs them.</summary>
    public static IReadOnlyList<Job> All { get; } =
    [
        // Few at a time: the wallets stay locked until the slice commits, and a charge may wait for one of them.
        Counting("settle", "resets, expiries and lapsed holds of idle wallets", TimeSpan.FromSeconds(30), (c, o, ct) => c.SettleDueWalletsAsync(25, ct)),
        Counting("purchases", "purchases that were never paid fail", TimeSpan.FromMinutes(5), (c, o, ct) => c.ExpirePurchasesAsync(o.PurchaseAge, 25, ct)),
        Counting("expiring", "users are told of credits that expire soon", TimeSpan.FromHours(1), (c, o, ct) => c.NotifyExpiringAsync(o.ExpiryNotice, 25, ct)),
        new("rollups", "usage is rolled up for statistics", TimeSpan.FromMinutes(15), true, (c, o, every, ct) => c.RollUpNextAsync(every, ct: ct)),
        new("anomalies", "alerts for hours of unusual usage or declines", TimeSpan.FromMinutes(10), true, (c, o, every, ct) => c.FindAnomaliesAsync(every, ct: ct)),
        new("keys", "expired idempotency keys are deleted", TimeSpan.FromDays(1), true, (c, o, every, ct) => c.ForgetKeysAsync(every, ct: ct)),
        new("verify", "the books and the attached triggers are proven, with alerts for what is wrong", TimeSpan.FromDays(1), true, (c, o, every, ct) => c.VerifyNextAsync(every, ct: ct)),
    ];

    /// <summary>How often this host asks: whether a sweep is due costs next to nothing.</summary>
    public TimeSpan Poll(TimeSpan interval)
    {
        var most = TimeSpan.FromMinutes(5);
        return !IsSweep || interval <= TimeSpan.FromSeconds(1) ? interval : TimeSpan.FromTicks(Math.Clamp(interval.Ticks / 10, TimeSpan.TicksPerSecond, most.Ticks));
    }

    private static Job Counting(string name, string description, TimeSpan interval, Func<CreditClient, WorkerOptions, CancellationToken, Task<int>> count) =>
        new(name, description, interval, false, async (client, options, _, ct) =>
        {
            var items = await count(client, options, ct);
            return new SweepSlice { Items = items, IsDone = items == 0 };
        });
}

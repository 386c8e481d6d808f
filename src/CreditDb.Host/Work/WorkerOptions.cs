namespace CreditDb.Host.Work;

/// <summary>The section Worker of the configuration.</summary>
internal sealed class WorkerOptions
{
    public const string Section = "Worker";

    /// <summary>Whether this host works at all; another one may do it for all.</summary>
    public bool Enabled { get; set; } = true;

    /// <summary>How long a purchase may be pending: longer than the payment provider lets a person pay.</summary>
    public TimeSpan PurchaseAge { get; set; } = TimeSpan.FromHours(25);

    /// <summary>How long before credits expire their user is told.</summary>
    public TimeSpan ExpiryNotice { get; set; } = TimeSpan.FromDays(3);

    /// <summary>How often a job is done, by its name, where that is not its default.</summary>
    public Dictionary<string, TimeSpan> Intervals { get; } = new(StringComparer.OrdinalIgnoreCase);

    public TimeSpan IntervalOf(Job job) => Intervals.GetValueOrDefault(job.Name, job.Interval);

    /// <summary>What is wrong with the settings, in words for whoever wrote them.</summary>
    public IEnumerable<string> Problems()
    {
        var most = TimeSpan.FromDays(31);
        foreach (var (name, interval) in Intervals)
        {
            if (!Job.All.Any(job => job.Name.Equals(name, StringComparison.OrdinalIgnoreCase)))
                yield return $"{Section}:Intervals:{name} names no job. There are {string.Join(", ", Job.All.Select(job => job.Name))}.";
            if (interval < TimeSpan.FromSeconds(1) || interval > most)
                yield return $"{Section}:Intervals:{name} is {interval}; it must be 00:00:01 to {most} (31 days).";
        }

        if (PurchaseAge < TimeSpan.FromMinutes(1) || PurchaseAge > most)
            yield return $"{Section}:PurchaseAge is {PurchaseAge}; it must be 00:01:00 to {most} (31 days).";
        if (ExpiryNotice < TimeSpan.FromMinutes(1) || ExpiryNotice > TimeSpan.FromDays(366))
            yield return $"{Section}:ExpiryNotice is {ExpiryNotice}; it must be 00:01:00 to 366.00:00:00 (366 days).";
    }
}

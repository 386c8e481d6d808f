using System.ComponentModel.DataAnnotations;

namespace CreditDb.Host.Live;

/// <summary>The configuration section Live.</summary>
internal sealed class LiveOptions
{
    public const string Section = "Live";

    /// <summary>How many streams of a user this host keeps open at once.</summary>
    [Range(1, 100_000)]
    public int StreamsPerUser { get; set; } = 20;

    /// <summary>How many streams this host keeps open at once for a key, and for the tokens that it minted.</summary>
    [Range(1, 1_000_000)]
    public int StreamsPerKey { get; set; } = 10_000;

    /// <summary>How often the change counters of the watched users are read.</summary>
    [Range(50, 10_000)]
    public int PollMilliseconds { get; set; } = 250;

    /// <summary>After how long a silent stream carries a sign of life.</summary>
    [Range(1, 300)]
    public int HeartbeatSeconds { get; set; } = 15;

    /// <summary>How long a reader may leave what is written to it before it is dropped.</summary>
    [Range(1, 300)]
    public int WriteTimeoutSeconds { get; set; } = 10;
}

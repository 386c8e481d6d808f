using System.ComponentModel.DataAnnotations;

namespace CreditDb.Host.Webhooks;

/// <summary>The configuration section Webhooks.</summary>
internal sealed class WebhookOptions
{
    public const string Section = "Webhooks";

    /// <summary>How many deliveries this host has under way at a time.</summary>
    [Range(1, 1000)]
    public int Parallel { get; set; } = 16;

    /// <summary>How many deliveries to one endpoint are under way at a time, by all hosts.</summary>
    [Range(1, 1000)]
    public int ParallelPerEndpoint { get; set; } = 8;

    /// <summary>How long an endpoint may take to answer.</summary>
    [Range(1, 30)]
    public int TimeoutSeconds { get; set; } = 10;

    /// <summary>How often a host without work looks for some.</summary>
    [Range(50, 60_000)]
    public int PollMilliseconds { get; set; } = 1000;

    /// <summary>How long delivered events are kept.</summary>
    [Range(0, 365)]
    public int KeepDeliveredDays { get; set; } = 7;

    /// <summary>How long dead events are kept.</summary>
    [Range(1, 365)]
    public int KeepDeadDays { get; set; } = 30;

    /// <summary>Whether https:// addresses may lead into private networks, and to this machine.</summary>
    public bool AllowPrivateAddresses { get; set; }

    /// <summary>Whether http:// addresses, which must be on this machine, are called. Say false where other services listen here.</summary>
    public bool AllowLoopback { get; set; } = true;

    public TimeSpan Timeout => TimeSpan.FromSeconds(TimeoutSeconds);

    /// <summary>Outlasts the attempt and the report of it.</summary>
    public TimeSpan Lease => 2 * Timeout + TimeSpan.FromSeconds(30);
}

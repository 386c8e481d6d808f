using System.ComponentModel.DataAnnotations;

namespace CreditDb.Host.Operations;

/// <summary>The configuration section Operations.</summary>
internal sealed class OperationsOptions
{
    public const string Section = "Operations";

    /// <summary>Whether everybody who reaches the host may read /metrics; if not, callers from the host's own machine and holders of an admin key.</summary>
    public bool MetricsAreOpen { get; set; }

    /// <summary>How long a host that was told to stop still takes requests, while /health/ready already says that it stops: a little longer than a load balancer needs to notice.</summary>
    [Range(0, 300)]
    public int DrainSeconds { get; set; }

    /// <summary>How long, after that, requests that were accepted may take to finish.</summary>
    [Range(1, 600)]
    public int ShutdownSeconds { get; set; } = 30;
}

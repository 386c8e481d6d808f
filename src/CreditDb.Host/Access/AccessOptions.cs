using System.ComponentModel.DataAnnotations;

namespace CreditDb.Host.Access;

/// <summary>The configuration section Access.</summary>
internal sealed class AccessOptions
{
    public const string Section = "Access";

    /// <summary>How long a user token lasts if its minter does not say.</summary>
    [Range(1, 60)]
    public int TokenMinutes { get; set; } = 15;

    /// <summary>Requests a second, lastingly, of a service's or operator's key.</summary>
    [Range(1, 1_000_000)]
    public int KeyRequestsPerSecond { get; set; } = 2_000;

    /// <summary>Requests a second, lastingly, of a user, by all of the user's tokens and keys.</summary>
    [Range(1, 1_000_000)]
    public int UserRequestsPerSecond { get; set; } = 20;

    /// <summary>Requests a second, lastingly, of an address that shows no key.</summary>
    [Range(1, 1_000_000)]
    public int AnonymousRequestsPerSecond { get; set; } = 20;

    /// <summary>How many bytes of metadata a request by a user's token may have kept: what a user can write without limit, others pay the disk for.</summary>
    [Range(0, 1024 * 1024)]
    public int UserMetadataBytes { get; set; } = 4096;

    /// <summary>The origins, such as https://app.example.com, whose pages may call the API from a browser.</summary>
    public string[] CorsOrigins { get; set; } = [];
}

using System.Globalization;

namespace CreditDb.Host.PrivatePostgres;

/// <summary>A server that is kept between starts, or one that is thrown away.</summary>
public sealed record PrivateServerOptions
{
    private const int DefaultPort = 25432;

    public required PostgresSearch Search { get; init; }

    /// <summary>The folder above the servers' own folders, one per major version; null: a temporary folder, deleted at the end.</summary>
    public string? KeptIn { get; init; }

    /// <summary>The port to take if it is free; null: any free port.</summary>
    public int? PreferredPort { get; init; }

    /// <summary>Settings of the server, as in postgresql.conf.</summary>
    public IReadOnlyDictionary<string, string> Settings { get; init; } = new Dictionary<string, string>();

    /// <summary>Told, in a sentence each, what takes long or differs from what was asked.</summary>
    public Action<string> Report { get; init; } = _ => { };

    /// <summary>A durable server whose data, password and port stay.</summary>
    public static PrivateServerOptions Kept(IConfiguration configuration) => new()
    {
        Search = PostgresSearch.From(configuration),
        KeptIn = DataFolder.From(configuration),
        PreferredPort = Port(configuration["CREDITDB_PORT"]),
    };

    private static int? Port(string? setting) => setting switch
    {
        null or "" => DefaultPort,
        "0" => null,
        _ when ushort.TryParse(setting, CultureInfo.InvariantCulture, out var port) => port,
        _ => throw new PrivatePostgresException($"CREDITDB_PORT is {setting}, but must be a port, or 0 for any free one."),
    };

    /// <summary>A fast server for tests: temporary, not durable, on a random port. By default configured by the environment.</summary>
    public static PrivateServerOptions Throwaway(IConfiguration? configuration = null) => new()
    {
        Search = PostgresSearch.From(configuration ?? new ConfigurationBuilder().AddEnvironmentVariables().Build()),
        Settings = new Dictionary<string, string>
        {
            ["fsync"] = "off",
            ["synchronous_commit"] = "off",
            ["full_page_writes"] = "off",
            ["max_connections"] = "200",
        },
    };
}

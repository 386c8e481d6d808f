using System.Diagnostics;
using System.Text;
using System.Text.RegularExpressions;

namespace CreditDb.Tests.Api;

/// <summary>The README's tour of the HTTP API, with curl, prints what the README shows.</summary>
public sealed partial class ReadmeTourTests(ApiHost host) : IClassFixture<ApiHost>
{
    private const string Prompt = "$ ";

    [Fact]
    public async Task The_tour_prints_what_the_README_shows()
    {
        var ct = TestContext.Current.CancellationToken;
        var readme = await File.ReadAllTextAsync(Path.Combine(Pages.Repository, "README.md"), ct);
        var tour = readme.Split("```console\n")[1].Split("```")[0];
        using var process = HostProcess.Start([], new Dictionary<string, string?> { ["ConnectionStrings__CreditDb"] = host.Database.ConnectionString });
        var address = await process.AddressAsync();

        // The keys of the README are not those of this run: the admin's is made here, the service's is in the answer before.
        var script = new StringBuilder("answer=\n");
        foreach (var line in tour.Split('\n').Where(l => l.StartsWith(Prompt, StringComparison.Ordinal)))
        {
            var command = line[Prompt.Length..].Replace("localhost:5080", address.Authority, StringComparison.Ordinal);
            if (command.StartsWith("admin=", StringComparison.Ordinal))
                command = "admin=" + await host.KeyAsync(["admin"]);
            else if (command.StartsWith("key=", StringComparison.Ordinal))
                command = """key=$(sed 's/.*"key":"\([^"]*\)".*/\1/' <<<"$answer")""";
            else
                command = $"answer=$({command}) || exit 1; echo \"$answer\"";
            script.AppendLine(command);
        }

        var start = new ProcessStartInfo("bash", ["-c", script.ToString()]) { RedirectStandardOutput = true, RedirectStandardError = true };
        using var bash = Process.Start(start)!;
        var (output, error) = (bash.StandardOutput.ReadToEndAsync(ct), bash.StandardError.ReadToEndAsync(ct));
        await bash.WaitForExitAsync(ct);
        Assert.True(bash.ExitCode == 0, await error + await output);
        Assert.Equal(Lines(string.Join('\n', tour.Split('\n').Where(l => !l.StartsWith(Prompt, StringComparison.Ordinal)))), Lines(await output));
    }

    /// <summary>The lines without what differs from run to run: keys, times, traces.</summary>
    private static IEnumerable<string> Lines(string text) =>
        text.Split('\n').Select(line => Varying().Replace(line.TrimEnd(), "…")).Where(line => line.Length > 0);

    [GeneratedRegex("""(?<=Id":")[a-z2-7]{12}(?=")|cdb_[a-z2-7_]+|\d{4}-\d\d-\d\dT[0-9:.]+(\+00:00|Z)|(?<="traceId":")[^"]+""")]
    private static partial Regex Varying();
}

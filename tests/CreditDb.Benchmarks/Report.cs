using System.Diagnostics;
using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;
using Spectre.Console;

namespace CreditDb.Benchmarks;

/// <summary>Results for people: a table on the terminal, and docs/benchmarks.md.</summary>
internal static class Report
{
    public static void Show(Result result, IAnsiConsole console)
    {
        var table = new Table { Title = new TableTitle(Markup.Escape(result.Contest.Title)) }
            .AddColumn("contestant").AddColumn(new TableColumn(result.Contest.Unit).RightAligned()).AddColumn("ratio");
        foreach (var (name, rate) in result.Rates)
            table.AddRow(Markup.Escape(name), Number(rate), Markup.Escape(string.Join(", ", Ratios(result, name))));
        console.Write(table);
    }

    public static string Page(IEnumerable<Result> results, string settings, decimal? lost)
    {
        var page = new StringBuilder(
            $"""
            # Benchmarks

            Written by `dotnet run -c Release --project tests/CreditDb.Benchmarks`. Contestants of a table ran one after the other, round by round, on the same
            server; rates are medians of the rounds. Only the ratios mean anything elsewhere.

            {settings}

            """);
        foreach (var result in results)
        {
            page.Append(CultureInfo.InvariantCulture, $"\n## {result.Contest.Title}\n\n| contestant | {result.Contest.Unit} | ratio (target) |\n|---|---|---|\n");
            foreach (var (name, rate) in result.Rates)
                page.Append(CultureInfo.InvariantCulture, $"| {name} | {Number(rate)} | {string.Join("<br>", Ratios(result, name))} |\n");
        }

        if (lost is { } credits)
            page.Append(CultureInfo.InvariantCulture, $"\nWhile it ran, check-then-act lost {credits:N0} credits: charged in its log, never taken from a balance.\n");
        return page.ToString();
    }

    public static string Settings(BenchServer server, int rounds, int seconds, double hold)
    {
        var commit = Git("rev-parse --short HEAD") + (Git("status --porcelain") is { Length: > 0 } ? " with changes" : "");
        return string.Create(CultureInfo.InvariantCulture,
            $"""
            Commit {commit}. {RuntimeInformation.OSDescription}, {RuntimeInformation.OSArchitecture}, {Environment.ProcessorCount} cores for server and callers together,
            {GC.GetGCMemoryInfo().TotalAvailableMemoryBytes >> 30} GB of memory. PostgreSQL {server.Version}, fsync and synchronous_commit on; {RuntimeInformation.FrameworkDescription}.
            Statements are prepared, by pgbench and by Npgsql (Max Auto Prepare=50). {server.Accounts:N0} accounts, {rounds} rounds of {seconds} s; a rate of the HTTP API was held for {hold} s.
            """);
    }

    private static IEnumerable<string> Ratios(Result result, string name) =>
        from target in result.Contest.Targets
        where target.Contestant == name
        let ratio = result.Rates[name] / result.Rates[target.Reference]
        select !double.IsFinite(ratio) ? $"{target.Reference} finished nothing in the time" : string.Create(CultureInfo.InvariantCulture, $"{ratio:0.00} of {target.Reference} ({target.AtLeast:0.##}{(ratio < target.AtLeast ? ", missed" : "")})");

    private static string Number(double rate) => rate.ToString("N0", CultureInfo.InvariantCulture);

    private static string Git(string arguments)
    {
        using var git = Process.Start(new ProcessStartInfo("git", arguments) { RedirectStandardOutput = true, WorkingDirectory = AppContext.BaseDirectory })!;
        var output = git.StandardOutput.ReadToEnd().Trim();
        git.WaitForExit();
        return output;
    }
}

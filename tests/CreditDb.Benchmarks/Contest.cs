using System.Diagnostics;
using Spectre.Console;

namespace CreditDb.Benchmarks;

/// <summary>Something that is measured: what it is, and a run of it that returns operations per second, or per what the contest says.</summary>
internal sealed record Contestant(string Name, Func<TimeSpan, CancellationToken, Task<double>> RunAsync);

/// <summary>What a ratio is compared with, and what it should reach.</summary>
internal sealed record Target(string Contestant, string Reference, double AtLeast);

/// <summary>Contestants that are run one after the other, round by round, so that what slows the machine slows all of them. More is better.</summary>
internal sealed record Contest(string Title, IReadOnlyList<Contestant> Contestants, IReadOnlyList<Target> Targets, string Unit = "per second")
{
    public async Task<Result> RunAsync(int rounds, TimeSpan time, IAnsiConsole console, CancellationToken ct)
    {
        var rates = Contestants.ToDictionary(c => c.Name, _ => new List<double>());
        // A bar for people; a file has no use for it.
        var bars = console.Profile.Out.IsTerminal ? console : AnsiConsole.Create(new AnsiConsoleSettings { Out = new AnsiConsoleOutput(TextWriter.Null) });
        await bars.Progress().StartAsync(async progress =>
        {
            var task = progress.AddTask(Title, maxValue: rounds * Contestants.Count);
            // A rate that is held is found from a warm start already.
            foreach (var contestant in rounds > 1 ? Contestants : [])
            {
                task.Description = Markup.Escape($"{Title}: warm up");
                await WarmAsync(() => contestant.RunAsync(time, ct));
            }

            for (var round = 0; round < rounds; round++)
            {
                foreach (var contestant in Contestants)
                {
                    task.Description = Markup.Escape($"{Title}: {contestant.Name}");
                    rates[contestant.Name].Add(await contestant.RunAsync(time, ct));
                    task.Increment(1);
                }
            }

            task.Description = Markup.Escape(Title);
        });
        return new Result(this, rates.ToDictionary(pair => pair.Key, pair => Median(pair.Value)));
    }

    /// <summary>
    /// Runs until that gets no faster, and returns the highest rate: what is compiled or cached on the way is not what is measured. A host under load takes half a minute
    /// to compile its code for good.
    /// </summary>
    public static async Task<double> WarmAsync(Func<Task<double>> run)
    {
        const int most = 10;
        const double faster = 1.05;
        var best = await run();
        for (var n = 1; n < most; n++)
        {
            var last = best;
            best = Math.Max(best, await run());
            if (best < last * faster)
                break;
        }

        return best;
    }

    /// <summary>Callers that call as fast as they can for a while; returns what they did per second.</summary>
    public static async Task<double> CallersAsync(int callers, TimeSpan time, Func<int, Random, CancellationToken, Task<int>> once, CancellationToken ct)
    {
        var watch = Stopwatch.StartNew();
        var done = await Task.WhenAll(Enumerable.Range(0, callers).Select(caller => Task.Run(
            async () =>
            {
                var (random, count) = (new Random(caller), 0L);
                while (watch.Elapsed < time)
                    count += await once(caller, random, ct);
                return count;
            },
            ct)));
        return done.Sum() / watch.Elapsed.TotalSeconds;
    }

    private static double Median(List<double> values)
    {
        var sorted = values.Order().ToList();
        return sorted.Count % 2 == 1 ? sorted[sorted.Count / 2] : (sorted[sorted.Count / 2] + sorted[(sorted.Count / 2) - 1]) / 2;
    }
}

/// <summary>The medians of a contest.</summary>
internal sealed record Result(Contest Contest, IReadOnlyDictionary<string, double> Rates);

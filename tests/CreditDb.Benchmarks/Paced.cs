using System.Diagnostics;

namespace CreditDb.Benchmarks;

/// <summary>Callers that keep to a rate, whatever they are answered, so that a slow answer counts for all who would have come meanwhile.</summary>
internal static class Paced
{
    private static readonly TimeSpan Limit = TimeSpan.FromMilliseconds(100);
    private static readonly TimeSpan Start = TimeSpan.FromSeconds(5);
    private const double MostErrors = 0.001;

    /// <summary>The highest rate per second that is held: 99 of 100 answers within 100 ms, fewer than one error in 1,000. 0 if none is.</summary>
    public static async Task<double> HeldAsync(int callers, TimeSpan time, Func<Random, CancellationToken, Task<bool>> once, CancellationToken ct)
    {
        // As fast as it goes, for a start.
        var most = await Contest.CallersAsync(callers, time < Start ? time : Start, async (_, random, token) => await once(random, token) ? 1 : 0, ct);
        for (var rate = most; rate > most / 20; rate *= 0.8)
        {
            var (held, late, errors) = await RunAsync(callers, rate, time, once, ct);
            if (late <= Limit && errors < MostErrors)
                return held;
        }

        return 0;
    }

    private static async Task<(double Rate, TimeSpan Late, double Errors)> RunAsync(
        int callers, double rate, TimeSpan time, Func<Random, CancellationToken, Task<bool>> once, CancellationToken ct)
    {
        var watch = Stopwatch.StartNew();
        var every = TimeSpan.FromSeconds(callers / rate);
        var answers = await Task.WhenAll(Enumerable.Range(0, callers).Select(caller => Task.Run(
            async () =>
            {
                var (random, answered) = (new Random(caller), new List<(TimeSpan Took, bool Ok)>());
                for (var due = every * caller / callers; due < time; due += every)
                {
                    if (due - watch.Elapsed is { Ticks: > 0 } wait)
                        await Task.Delay(wait, ct);
                    var ok = await once(random, ct);
                    answered.Add((watch.Elapsed - due, ok));
                }

                return answered;
            },
            ct)));
        var took = watch.Elapsed;
        var all = answers.SelectMany(a => a).ToList();
        var late = all.Select(a => a.Took).Order().ElementAt(Math.Min(all.Count - 1, (int)(all.Count * 0.99)));
        return (all.Count / took.TotalSeconds, late, all.Count(a => !a.Ok) / (double)all.Count);
    }
}

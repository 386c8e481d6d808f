using System.Diagnostics;

namespace CreditDb.Benchmarks;

/// <summary>Callers that keep to a rate, whatever they are answered, so that a slow answer counts for all who would have come meanwhile.</summary>
internal static class Paced
{
    private static readonly TimeSpan Limit = TimeSpan.FromMilliseconds(100);
    private static readonly TimeSpan Start = TimeSpan.FromSeconds(5);
    private const double MostLate = 0.01;
    private const double MostErrors = 0.001;

    /// <summary>The highest rate per second that is held: 99 of 100 answers within 100 ms, fewer than one error in 1,000. 0 if none is.</summary>
    public static async Task<double> HeldAsync(int callers, TimeSpan time, Func<Random, CancellationToken, Task<bool>> once, CancellationToken ct)
    {
        // As fast as it goes, for a start.
        var most = await Contest.WarmAsync(() => Contest.CallersAsync(callers, time < Start ? time : Start, async (_, random, token) => await once(random, token) ? 1 : 0, ct));
        for (var rate = most; rate > most / 20; rate *= 0.9)
        {
            if (await RunAsync(callers, rate, time, once, ct) is { } held)
                return held;
        }

        return 0;
    }

    /// <summary>The rate that was held, or null as soon as it is clear that it was not.</summary>
    private static async Task<double?> RunAsync(int callers, double rate, TimeSpan time, Func<Random, CancellationToken, Task<bool>> once, CancellationToken ct)
    {
        var watch = Stopwatch.StartNew();
        var every = TimeSpan.FromSeconds(callers / rate);
        var expected = rate * time.TotalSeconds;
        var (answers, late, errors) = (0, 0, 0);
        await Task.WhenAll(Enumerable.Range(0, callers).Select(caller => Task.Run(
            async () =>
            {
                var random = new Random(caller);
                for (var due = every * caller / callers; due < time && IsHeld(); due += every)
                {
                    if (due - watch.Elapsed is { Ticks: > 0 } wait)
                        await Task.Delay(wait, ct);
                    if (!await once(random, ct))
                        Interlocked.Increment(ref errors);
                    if (watch.Elapsed - due > Limit)
                        Interlocked.Increment(ref late);
                    Interlocked.Increment(ref answers);
                }
            },
            ct)));
        return IsHeld() ? answers / watch.Elapsed.TotalSeconds : null;

        bool IsHeld() => late <= expected * MostLate && errors < expected * MostErrors;
    }
}

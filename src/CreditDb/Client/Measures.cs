using System.Collections.Concurrent;
using System.Diagnostics;
using System.Diagnostics.Metrics;
using Npgsql;

namespace CreditDb;

/// <summary>What the library measures, on the meter CreditDb. While nobody listens, a call costs four comparisons more.</summary>
internal static class Measures
{
    public const string MeterName = "CreditDb";

    private const string Operation = "operation";

    private static readonly Meter Meter = new(MeterName, typeof(Measures).Assembly.GetName().Version?.ToString(3));

    private static readonly Counter<double> Deducted = Meter.CreateCounter<double>(
        "creditdb.credits.deducted", "{credit}", "Credits charged by this process, by action type. What triggers charge is not in it.");

    private static readonly Counter<long> Declines = Meter.CreateCounter<long>(
        "creditdb.declines", "{decline}", "Operations that the engine declined, by the code of their outcome.");

    private static readonly Counter<long> Retries = Meter.CreateCounter<long>(
        "creditdb.operation.retries", "{retry}", "Calls that were repeated after a conflict or a lost connection, by SQL function.");

    private static readonly Histogram<double> Duration = Meter.CreateHistogram(
        "creditdb.operation.duration", "s", "How long a call of a SQL function took, its repetitions included, by function and outcome.", tags: null,
        new InstrumentAdvice<double> { HistogramBucketBoundaries = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10] });

    // The statements are constants, so this stays as small as the library.
    private static readonly ConcurrentDictionary<string, string> Operations = new(StringComparer.Ordinal);

    private static bool AreTaken => Duration.Enabled || Deducted.Enabled || Declines.Enabled;

    /// <summary>When a call begins; 0 while nobody listens.</summary>
    public static long Start() => AreTaken ? Stopwatch.GetTimestamp() : 0;

    /// <summary>A call has returned a result, good or bad.</summary>
    public static void Returned(long started, string sql, object? result)
    {
        if (started == 0)
            return;
        switch (result)
        {
            case Reservation { Success: true }:
                break;
            case Charge { Success: true } charge:
                Charged(charge);
                break;
            case ChatSession { Success: true } session:
                Add(session.CreditsCharged, "chat_session");
                break;
            case ChargedRows { Success: true } rows:
                Add(rows.Deducted.Values.Sum(), "uncharged_rows");
                break;
            case Outcome { Success: false } declined:
                Declined(declined);
                break;
            case List<Charge> batch:
                foreach (var one in batch)
                {
                    if (one.Success)
                        Charged(one);
                    else
                        Declined(one);
                }

                break;
        }

        Took(started, sql, (result as Outcome)?.Code ?? "ok");
    }

    /// <summary>A call has failed. Always false, to be the filter of a catch: the exception goes its way untouched.</summary>
    public static bool Failed(long started, string sql, Exception error)
    {
        if (started != 0)
        {
            Took(started, sql, error switch
            {
                CreditException refused => refused.Code,
                PostgresException e => e.SqlState,
                OperationCanceledException => "cancelled",
                NpgsqlException or TimeoutException => "no_connection",
                _ => "error",
            });
        }

        return false;
    }

    /// <summary>A call is about to be repeated.</summary>
    public static void Repeated(string sql)
    {
        if (Retries.Enabled)
            Retries.Add(1, new KeyValuePair<string, object?>(Operation, OperationOf(sql)));
    }

    private static void Charged(Charge charge)
    {
        if (!charge.Replayed)
            Add(charge.CreditsDeducted, charge.ActionType);
    }

    private static void Add(decimal credits, string? actionType)
    {
        if (credits > 0)
            Deducted.Add((double)credits, new KeyValuePair<string, object?>("action_type", actionType));
    }

    private static void Declined(Outcome outcome) => Declines.Add(1, new KeyValuePair<string, object?>("code", outcome.Code));

    private static void Took(long started, string sql, string outcome) => Duration.Record(
        Stopwatch.GetElapsedTime(started).TotalSeconds,
        new KeyValuePair<string, object?>(Operation, OperationOf(sql)),
        new KeyValuePair<string, object?>("outcome", outcome));

    private static string OperationOf(string sql) => Operations.GetOrAdd(sql, static text =>
    {
        const string schema = "credits.";
        var start = text.IndexOf(schema, StringComparison.Ordinal);
        if (start < 0)
            return "other";
        var name = text.AsSpan(start + schema.Length);
        var end = name.IndexOf('(');
        return end < 0 ? "other" : name[..end].ToString();
    });
}

namespace CreditDb.Benchmarks;

/// <summary>Somebody else's way to charge, as a pgbench script on a database of its own.</summary>
internal static class External
{
    public static Contestant Parse(string text, BenchServer server, int clients)
    {
        var (name, rest) = Split(text, '=');
        var (script, connection) = Split(rest, ',');
        return new Contestant(
            name, async (time, ct) => (await Pgbench.RunAsync(server, await File.ReadAllTextAsync(script, ct), clients, time, ct, connection)).PerSecond);

        (string Left, string Right) Split(string pair, char separator) => pair.IndexOf(separator, StringComparison.Ordinal) is > 0 and var at
            ? (pair[..at], pair[(at + 1)..])
            : throw new ArgumentException($"--external {text}: expected name=script.sql,connection string.");
    }
}

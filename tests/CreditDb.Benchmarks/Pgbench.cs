using System.Diagnostics;
using System.Globalization;
using System.Text.RegularExpressions;
using Npgsql;

namespace CreditDb.Benchmarks;

/// <summary>What pgbench did.</summary>
internal sealed record PgbenchRun(long Transactions, double PerSecond);

/// <summary>Runs a script by pgbench, prepared.</summary>
internal static partial class Pgbench
{
    public static async Task<PgbenchRun> RunAsync(
        BenchServer server, string script, int clients, TimeSpan time, CancellationToken ct, string? connectionString = null)
    {
        var file = Path.GetTempFileName();
        try
        {
            await File.WriteAllTextAsync(file, script.Replace(":accounts", server.Accounts.ToString(CultureInfo.InvariantCulture), StringComparison.Ordinal), ct);
            var connection = new NpgsqlConnectionStringBuilder(connectionString ?? server.ConnectionString);
            var start = new ProcessStartInfo(server.Tool("pgbench"),
            [
                "-n", "-M", "prepared", "-c", $"{clients}", "-j", $"{Math.Min(clients, Environment.ProcessorCount)}", "-T", $"{Math.Max(1, (int)time.TotalSeconds)}",
                "-f", file, "-h", connection.Host!, "-p", $"{connection.Port}", "-U", connection.Username!, connection.Database!,
            ])
            {
                RedirectStandardOutput = true,
                RedirectStandardError = true,
            };
            start.Environment["PGPASSWORD"] = connection.Password;
            using var process = Process.Start(start)!;
            var (output, error) = (process.StandardOutput.ReadToEndAsync(ct), process.StandardError.ReadToEndAsync(ct));
            await process.WaitForExitAsync(ct);
            var (tps, done) = (Tps().Match(await output), Done().Match(await output));
            // It has no rate for nothing done.
            return process.ExitCode == 0
                ? tps.Success ? new PgbenchRun(long.Parse(done.Groups[1].ValueSpan, CultureInfo.InvariantCulture), double.Parse(tps.Groups[1].ValueSpan, CultureInfo.InvariantCulture)) : new PgbenchRun(0, 0)
                : throw new InvalidOperationException($"pgbench failed: {await error}\n{await output}");
        }
        finally
        {
            File.Delete(file);
        }
    }

    [GeneratedRegex(@"^tps = ([0-9.]+)", RegexOptions.Multiline)]
    private static partial Regex Tps();

    [GeneratedRegex(@"transactions actually processed: ([0-9]+)")]
    private static partial Regex Done();
}

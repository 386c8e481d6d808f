using System.Diagnostics;
using System.Text.Json;
using CreditDb.Host.Access;

namespace CreditDb.Benchmarks;

/// <summary>The host over the run's database, in a process of its own as in production, and a service that calls it.</summary>
internal sealed class BenchHost : IAsyncDisposable
{
    private readonly Process _process;

    private readonly HttpCaller _caller;

    private BenchHost(Process process, HttpCaller caller) => (_process, _caller) = (process, caller);

    public static async Task<BenchHost> StartAsync(BenchServer server, CancellationToken ct)
    {
        using var keys = new ApiKeys(new SqlCaller(server.Source, null, null));
        var key = await keys.CreateAsync("benchmark", ["service"], null, null, "benchmark", ct);
        var start = new ProcessStartInfo(
            "dotnet",
            [typeof(ApiKeys).Assembly.Location, "serve", "--Urls=http://127.0.0.1:0", "--Access:KeyRequestsPerSecond=1000000", "--Logging:LogLevel:Default=Error"])
        {
            RedirectStandardOutput = true,
        };
        start.Environment["ConnectionStrings__CreditDb"] = server.ConnectionString;
        var process = Process.Start(start)!;
        try
        {
            const string address = "  HTTP     ";
            string? line;
            do
                line = await process.StandardOutput.ReadLineAsync(ct) ?? throw new InvalidOperationException("The host did not start.");
            while (!line.StartsWith(address, StringComparison.Ordinal));
            // It says little more, which nobody needs; a full pipe would stop it.
            _ = process.StandardOutput.ReadToEndAsync(CancellationToken.None);
            return new BenchHost(process, new HttpCaller(new Uri(line[address.Length..]), key.Key));
        }
        catch
        {
            process.Kill();
            throw;
        }
    }

    public async Task<int> DeductAsync(Guid user, CancellationToken ct) =>
        await AskAsync(HttpMethod.Post, "/api/credits/deduct", new { userId = user, actionType = "weekly_report" }, ct)
            ? 1
            : throw new InvalidOperationException("The API refused a charge.");

    /// <summary>Whether it is answered with success, to the last byte.</summary>
    public Task<bool> AskAsync(HttpMethod method, string path, object? body, CancellationToken ct) =>
        _caller.AskAsync(method, path, body, (status, _) => status is >= 200 and < 300, ct);

    /// <summary>What a POST is answered.</summary>
    public Task<JsonElement> JsonAsync(string path, object body, CancellationToken ct) => _caller.AskAsync(
        HttpMethod.Post, path, body, (status, content) => status is >= 200 and < 300
            ? JsonDocument.Parse(content).RootElement.Clone()
            : throw new InvalidOperationException($"POST {path} was answered {status}."), ct);

    public async ValueTask DisposeAsync()
    {
        _caller.Dispose();
        _process.Kill();
        await _process.WaitForExitAsync();
        _process.Dispose();
    }
}

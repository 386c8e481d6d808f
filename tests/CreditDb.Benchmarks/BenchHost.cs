using System.Text.Json;
using CreditDb.Host;
using CreditDb.Host.Access;
using Spectre.Console;

namespace CreditDb.Benchmarks;

/// <summary>The host over the run's database, on a real port, and a service that calls it.</summary>
internal sealed class BenchHost : IAsyncDisposable
{
    private readonly Database _database;
    private readonly WebApplication _app;

    private readonly HttpCaller _caller;

    private BenchHost(Database database, WebApplication app, HttpCaller caller) => (_database, _app, _caller) = (database, app, caller);

    public static async Task<BenchHost> StartAsync(BenchServer server, CancellationToken ct)
    {
        var builder = HostApp.CreateBuilder(
        [
            $"--ConnectionStrings:CreditDb={server.ConnectionString}", "--Urls=http://127.0.0.1:0", "--Access:KeyRequestsPerSecond=1000000",
            "--Logging:LogLevel:Default=Warning",
        ]);
        var database = await Database.StartAsync(builder.Configuration, AnsiConsole.Create(new AnsiConsoleSettings { Out = new AnsiConsoleOutput(TextWriter.Null) }), ct);
        var app = HostApp.Build(builder, database);
        await app.StartAsync(ct);
        var key = await app.Services.GetRequiredService<ApiKeys>().CreateAsync($"benchmark {Guid.NewGuid()}", ["service"], null, null, "benchmark", ct);
        return new BenchHost(database, app, new HttpCaller(new Uri(app.Urls.First()), key.Key));
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
        await _app.StopAsync();
        await _app.DisposeAsync();
        await _database.DisposeAsync();
    }
}

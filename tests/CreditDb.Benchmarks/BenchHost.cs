using System.Net.Http.Headers;
using System.Net.Http.Json;
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

    private BenchHost(Database database, WebApplication app, HttpClient client) => (_database, _app, Client) = (database, app, client);

    public HttpClient Client { get; }

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
        var client = new HttpClient(new SocketsHttpHandler { MaxConnectionsPerServer = 256 }) { BaseAddress = new Uri(app.Urls.First()) };
        client.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", key.Key);
        return new BenchHost(database, app, client);
    }

    public async Task<int> DeductAsync(Guid user, CancellationToken ct) =>
        await AskAsync(HttpMethod.Post, "/api/credits/deduct", new { userId = user, actionType = "weekly_report" }, ct)
            ? 1
            : throw new InvalidOperationException("The API refused a charge.");

    /// <summary>Whether it is answered with success, to the last byte.</summary>
    public async Task<bool> AskAsync(HttpMethod method, string path, object? body, CancellationToken ct)
    {
        using var request = new HttpRequestMessage(method, path) { Content = body is null ? null : JsonContent.Create(body) };
        using var answer = await Client.SendAsync(request, ct);
        return answer.IsSuccessStatusCode;
    }

    /// <summary>What a POST is answered.</summary>
    public async Task<JsonElement> JsonAsync(string path, object body, CancellationToken ct)
    {
        using var answer = await Client.PostAsJsonAsync(path, body, ct);
        return await answer.EnsureSuccessStatusCode().Content.ReadFromJsonAsync<JsonElement>(ct);
    }

    public async ValueTask DisposeAsync()
    {
        Client.Dispose();
        await _app.StopAsync();
        await _app.DisposeAsync();
        await _database.DisposeAsync();
    }
}

using System.Collections.Concurrent;
using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;

namespace CreditDb.Tests.Webhooks;

/// <summary>Somebody's server that receives webhooks, and what it was sent.</summary>
internal sealed class Receiver : IAsyncDisposable
{
    private readonly WebApplication _app;

    private Receiver(WebApplication app) => _app = app;

    public ConcurrentQueue<Received> All { get; } = new();

    /// <summary>How it answers; 204 at once by default.</summary>
    public Func<HttpContext, Received, Task> Answer { get; set; } = (context, _) =>
    {
        context.Response.StatusCode = 204;
        return Task.CompletedTask;
    };

    public string Url => _app.Urls.Single() + "/hook?tenant=7";

    public IEnumerable<Received> Accepted => All.Where(r => r.Status is >= 200 and < 300);

    public static async Task<Receiver> StartAsync(int port = 0)
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.UseUrls($"http://127.0.0.1:{port}");
        var app = builder.Build();
        var receiver = new Receiver(app);
        app.Run(receiver.ReceiveAsync);
        await app.StartAsync(TestContext.Current.CancellationToken);
        return receiver;
    }

    public ValueTask DisposeAsync() => _app.DisposeAsync();

    private async Task ReceiveAsync(HttpContext context)
    {
        using var reader = new StreamReader(context.Request.Body);
        var received = new Received(
            context.Request.Method, context.Request.Path + context.Request.QueryString, context.Request.Headers.ToDictionary(h => h.Key, h => h.Value.ToString()),
            await reader.ReadToEndAsync(TestContext.Current.CancellationToken));
        All.Enqueue(received);
        await Answer(context, received);
        received.Status = context.Response.StatusCode;
    }
}

internal sealed record Received(string Method, string Path, Dictionary<string, string> Headers, string Body)
{
    public int Status { get; set; }

    public JsonElement Json => JsonDocument.Parse(Body).RootElement;

    public string EventId => Headers["CreditDb-Event-Id"];

    public string Attempt => Headers["CreditDb-Attempt"];

    /// <summary>What a receiver does: recomputes the signature of the body as it came, and compares it with each that was sent.</summary>
    public bool IsSignedBy(string secret, TimeSpan? tolerance = null)
    {
        var parts = Headers["CreditDb-Signature"].Split(',').Select(p => p.Split('=', 2)).ToList();
        var time = parts.Single(p => p[0] == "t")[1];
        var age = TimeProvider.System.GetUtcNow() - DateTimeOffset.FromUnixTimeSeconds(long.Parse(time, CultureInfo.InvariantCulture));
        var expected = HMACSHA256.HashData(Encoding.UTF8.GetBytes(secret), Encoding.UTF8.GetBytes($"{time}.{Body}"));
        return age.Duration() < (tolerance ?? TimeSpan.FromMinutes(5))
            && parts.Any(p => p[0] == "v1" && CryptographicOperations.FixedTimeEquals(Convert.FromHexString(p[1]), expected));
    }
}

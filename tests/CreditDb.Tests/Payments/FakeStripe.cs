using System.Collections.Concurrent;
using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.Logging;

namespace CreditDb.Tests.Payments;

/// <summary>Stripe's API on a real socket, as far as we call it: keeps what it is asked, answers as the test says, and repeats its answer to a repeated idempotency key.</summary>
public sealed class FakeStripe : IAsyncLifetime
{
    public const string Key = "sk_test_51Secret";
    public const string Secret = "whsec_first_secret";
    public const string NextSecret = "whsec_second_secret";

    private readonly ConcurrentDictionary<string, (int Status, string Body)> _answered = new();
    private WebApplication? _app;

    /// <summary>Status and body of the answer to a request; null hangs up instead.</summary>
    public Func<Request, (int Status, JsonObject Body)?> Answers { get; set; } = Usual;

    public ConcurrentQueue<Request> Requests { get; } = [];

    public string Address => _app!.Urls.Single();

    public (string, string)[] Settings =>
    [
        ("Payments:Provider", "stripe"), ("Payments:ReturnUrl", "https://app.example/credits?tab=1"), ("Payments:TopUpSeconds", "3600"),
        ("Payments:Stripe:SecretKey", Key), ("Payments:Stripe:ApiBase", Address), ("Payments:Stripe:WebhookSecrets:0", Secret),
        ("Payments:Stripe:WebhookSecrets:1", NextSecret),
    ];

    public async ValueTask InitializeAsync()
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.UseUrls("http://127.0.0.1:0");
        _app = builder.Build();
        _app.MapPost("/v1/{**path}", AnswerAsync);
        await _app.StartAsync();
    }

    public async ValueTask DisposeAsync()
    {
        if (_app is not null)
            await _app.DisposeAsync();
    }

    /// <summary>What Stripe says if all is well.</summary>
    public static (int Status, JsonObject Body)? Usual(Request request) => (200, request.Path switch
    {
        "checkout/sessions" => new JsonObject { ["id"] = $"cs_test_{Guid.NewGuid():N}", ["object"] = "checkout.session", ["url"] = $"https://checkout.example/{Guid.NewGuid():N}" },
        "payment_intents" => Intent(request, "succeeded"),
        _ => new JsonObject { ["id"] = $"re_{Guid.NewGuid():N}", ["object"] = "refund", ["status"] = "succeeded" },
    });

    public static JsonObject Intent(Request request, string status) => new()
    {
        ["id"] = $"pi_{Guid.NewGuid():N}",
        ["object"] = "payment_intent",
        ["status"] = status,
        ["amount"] = long.Parse(request.Form["amount"], CultureInfo.InvariantCulture),
        ["amount_received"] = status == "succeeded" ? long.Parse(request.Form["amount"], CultureInfo.InvariantCulture) : 0,
        ["currency"] = request.Form["currency"],
        ["metadata"] = new JsonObject { ["user_id"] = request.Form["metadata[user_id]"], ["purchase_id"] = request.Form["metadata[purchase_id]"], ["top_up"] = "true" },
    };

    public static JsonObject Error(string type, string code, string message) =>
        new() { ["error"] = new JsonObject { ["type"] = type, ["code"] = code, ["message"] = message } };

    /// <summary>The header Stripe-Signature for a body.</summary>
    public static string Sign(string body, DateTimeOffset at, params string[] secrets)
    {
        var time = at.ToUnixTimeSeconds().ToString(CultureInfo.InvariantCulture);
        return $"t={time}," + string.Join(',', secrets.Select(s =>
            "v1=" + Convert.ToHexStringLower(HMACSHA256.HashData(Encoding.UTF8.GetBytes(s), Encoding.UTF8.GetBytes($"{time}.{body}")))));
    }

    private async Task AnswerAsync(HttpContext context, string path)
    {
        var form = await context.Request.ReadFormAsync();
        var request = new Request(path, form.ToDictionary(f => f.Key, f => f.Value.ToString()), context.Request.Headers["Idempotency-Key"].ToString(),
            context.Request.Headers.Authorization.ToString());
        Requests.Enqueue(request);
        if (!_answered.TryGetValue(request.IdempotencyKey, out var answer))
        {
            if (Answers(request) is not var (status, body))
            {
                context.Abort();
                return;
            }

            answer = (status, body.ToJsonString());
            // Stripe repeats what it did, also a card that it declined, but not that it was busy.
            if (status < 409)
                answer = _answered.GetOrAdd(request.IdempotencyKey, answer);
        }

        context.Response.StatusCode = answer.Status;
        context.Response.Headers["Request-Id"] = "req_1";
        await context.Response.WriteAsync(answer.Body);
    }

    public sealed record Request(string Path, Dictionary<string, string> Form, string IdempotencyKey, string Authorization);
}

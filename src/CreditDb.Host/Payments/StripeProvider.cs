using System.Globalization;
using System.Net;
using System.Net.Http.Headers;
using System.Text.Json;
using System.Text.Json.Nodes;
using Microsoft.Extensions.Options;
using Polly;
using Polly.Retry;
using Polly.Timeout;

namespace CreditDb.Host.Payments;

/// <summary>Stripe, by its HTTP API: Checkout for people, payment intents off session for automatic top-up, refunds. Webhooks bring the rest.</summary>
internal sealed partial class StripeProvider : IPaymentProvider, IDisposable
{
    public const string ProviderName = "stripe";

    private const string ApiVersion = "2024-06-20";

    private readonly HttpClient _http;
    private readonly PaymentOptions _options;
    private readonly ILogger<StripeProvider> _logger;
    private readonly ResiliencePipeline _attempts;

    public StripeProvider(IOptions<PaymentOptions> options, TimeProvider time, ILogger<StripeProvider> logger)
    {
        (_options, _logger) = (options.Value, logger);
        _http = new HttpClient(new SocketsHttpHandler
        {
            PooledConnectionLifetime = TimeSpan.FromMinutes(5),
            ConnectTimeout = TimeSpan.FromSeconds(5),
            AllowAutoRedirect = false,
        })
        {
            BaseAddress = new Uri(_options.Stripe.ApiBase),
            Timeout = Timeout.InfiniteTimeSpan,
            MaxResponseContentBufferSize = 1024 * 1024,
        };
        _http.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", _options.Stripe.SecretKey);
        _http.DefaultRequestHeaders.Add("Stripe-Version", ApiVersion);
        // Each request has an idempotency key, so that a repeated one does nothing twice.
        _attempts = new ResiliencePipelineBuilder { TimeProvider = time }
            .AddTimeout(TimeSpan.FromSeconds(40))
            .AddRetry(new RetryStrategyOptions
            {
                MaxRetryAttempts = 3,
                Delay = TimeSpan.FromMilliseconds(250),
                BackoffType = DelayBackoffType.Exponential,
                UseJitter = true,
                ShouldHandle = new PredicateBuilder().Handle<HttpRequestException>().Handle<TimeoutRejectedException>().Handle<PaymentProviderException>(e => !e.IsRefusal),
            })
            .AddTimeout(TimeSpan.FromSeconds(15))
            .Build();
    }

    public string Name => ProviderName;

    public async Task<Checkout> OpenCheckoutAsync(Guid userId, ListedPurchase purchase, Uri host, CancellationToken ct)
    {
        var form = new Dictionary<string, string>
        {
            ["mode"] = "payment",
            ["client_reference_id"] = purchase.PurchaseId.ToString(),
            ["success_url"] = ReturnUrl(purchase.PurchaseId, "paid"),
            ["cancel_url"] = ReturnUrl(purchase.PurchaseId, "cancelled"),
            ["line_items[0][quantity]"] = "1",
            ["line_items[0][price_data][currency]"] = Lower(purchase.Currency),
            ["line_items[0][price_data][unit_amount]"] = Number(purchase.PriceMinor),
            ["line_items[0][price_data][product_data][name]"] = purchase.PackageName,
        };
        foreach (var holder in new[] { "metadata", "payment_intent_data[metadata]" })
        {
            form[holder + "[user_id]"] = userId.ToString();
            form[holder + "[purchase_id]"] = purchase.PurchaseId.ToString();
        }

        if (purchase.Metadata["save_payment_method"] is not null)
        {
            form["customer_creation"] = "always";
            form["payment_intent_data[setup_future_usage]"] = "off_session";
        }

        var (_, session) = await PostAsync("/v1/checkout/sessions", form, purchase.PurchaseId.ToString(), ct);
        return StripeEvents.Text(session, "id") is { } id && Uri.TryCreate(StripeEvents.Text(session, "url"), UriKind.Absolute, out var url)
            ? new Checkout(id, url)
            : throw new PaymentProviderException("Stripe opened no checkout.");
    }

    public async Task<PaymentEvent> ChargeAsync(DueTopUp due, CancellationToken ct)
    {
        var form = new Dictionary<string, string>
        {
            ["amount"] = Number(due.PriceMinor),
            ["currency"] = Lower(due.Currency),
            ["customer"] = due.CustomerReference,
            ["payment_method"] = due.PaymentMethod,
            ["off_session"] = "true",
            ["confirm"] = "true",
            ["description"] = due.PackageName,
            ["metadata[user_id]"] = due.UserId.ToString(),
            ["metadata[purchase_id]"] = due.PurchaseId.ToString(),
            ["metadata[top_up]"] = "true",
        };
        PaymentEvent said;
        try
        {
            var (_, intent) = await PostAsync("/v1/payment_intents", form, due.PurchaseId.ToString(), ct);
            said = StripeEvents.Intent($"top_up {due.PurchaseId} {StripeEvents.Text(intent, "status")}", intent) with { Payload = intent };
        }
        catch (PaymentProviderException e) when (e.IsRefusal)
        {
            said = new PaymentEvent($"top_up {due.PurchaseId} refused", "failed") { FailureReason = StripeEvents.Short(e.Message) };
        }

        return said with { UserId = due.UserId, PurchaseId = due.PurchaseId };
    }

    public async Task<string> RefundAsync(Guid userId, ListedPurchase purchase, long? amountMinor, string key, CancellationToken ct)
    {
        var form = new Dictionary<string, string>
        {
            ["payment_intent"] = purchase.ProviderReference!,
            ["metadata[user_id]"] = userId.ToString(),
            ["metadata[purchase_id]"] = purchase.PurchaseId.ToString(),
        };
        if (amountMinor is { } amount)
            form["amount"] = Number(amount);
        var (_, refund) = await PostAsync("/v1/refunds", form, $"refund {purchase.PurchaseId} {key}", ct);
        return StripeEvents.Text(refund, "id") ?? throw new PaymentProviderException("Stripe named no refund.");
    }

    public void Dispose() => _http.Dispose();

    private async Task<(HttpStatusCode Status, JsonObject Body)> PostAsync(string path, Dictionary<string, string> form, string idempotencyKey, CancellationToken ct)
    {
        try
        {
            return await _attempts.ExecuteAsync(async token =>
            {
                using var request = new HttpRequestMessage(HttpMethod.Post, path) { Content = new FormUrlEncodedContent(form) };
                request.Headers.Add("Idempotency-Key", idempotencyKey);
                using var response = await _http.SendAsync(request, token);
                var body = Parse(await response.Content.ReadAsStringAsync(token));
                if (response.IsSuccessStatusCode && body is not null)
                    return (response.StatusCode, body);

                var error = body?["error"] as JsonObject;
                Answered(path, (int)response.StatusCode, StripeEvents.Text(error, "type"), StripeEvents.Text(error, "code"),
                    response.Headers.TryGetValues("Request-Id", out var ids) ? ids.First() : null);
                // What we sent is refused (a card above all). A wrong key, or too much asked of Stripe, is not our user's doing; and a request that differs
                // from the first one with its idempotency key says nothing of what became of that.
                var isRefusal = response.StatusCode is HttpStatusCode.PaymentRequired or HttpStatusCode.BadRequest or HttpStatusCode.NotFound
                    && StripeEvents.Text(error, "type") != "idempotency_error";
                throw new PaymentProviderException(
                    isRefusal ? StripeEvents.Text(error, "message") ?? "Stripe refused the request." : $"Stripe answered with status {(int)response.StatusCode}; try again.", isRefusal);
            }, ct);
        }
        catch (Exception e) when (e is HttpRequestException or TimeoutRejectedException)
        {
            throw new PaymentProviderException("Stripe could not be reached; try again.", inner: e);
        }
    }

    private static JsonObject? Parse(string text)
    {
        try
        {
            return JsonNode.Parse(text) as JsonObject;
        }
        catch (JsonException)
        {
            return null;
        }
    }

    private string ReturnUrl(Guid purchase, string result) => ReturnTo(_options.ReturnUrl!, purchase, result);

    internal static string ReturnTo(string url, Guid purchase, string result)
    {
        var builder = new UriBuilder(url);
        builder.Query = $"{(builder.Query.Length > 1 ? builder.Query[1..] + "&" : "")}purchase={purchase}&result={result}";
        return builder.Uri.AbsoluteUri;
    }

#pragma warning disable CA1308 // Stripe writes currencies in lower case.
    private static string Lower(string currency) => currency.ToLowerInvariant();
#pragma warning restore CA1308

    private static string Number(long value) => value.ToString(CultureInfo.InvariantCulture);

    [LoggerMessage(Level = LogLevel.Warning, Message = "Stripe answered {Path} with {Status} {Type} {Code} (request {RequestId})")]
    private partial void Answered(string path, int status, string? type, string? code, string? requestId);
}

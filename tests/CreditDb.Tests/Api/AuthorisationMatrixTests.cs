using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;
using Microsoft.AspNetCore.Mvc.Testing;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;

namespace CreditDb.Tests.Api;

/// <summary>Every endpoint × every kind of caller. A new endpoint needs a row here and, if it takes a body, an example in the document, which is what is sent.</summary>
public sealed class AuthorisationMatrixTests(ApiHost host) : IClassFixture<ApiHost>
{
    // Who asks, in this order: nobody, a garbage credential, a user's token, one that may spend, another user's token that may spend, a user's key that may
    // spend, a service, an operator. The answers: 1 is 401, 3 is 403, + is neither.
    private const string Open = "++++++++";
    private const string OwnReads = "11++3++3";
    private const string AnyReads = "11+++++3";
    private const string Spends = "113+3++3";
    private const string Serves = "113333+3";
    private const string Administers = "1133333+";

    private static readonly Dictionary<string, string> Matrix = new(StringComparer.Ordinal)
    {
        ["GET /openapi/v1.json"] = Open,
        ["POST /api/tokens"] = Serves,
        ["POST /api/accounts"] = Serves,
        ["GET /api/credits/balance"] = OwnReads,
        ["GET /api/credits/costs"] = AnyReads,
        ["GET /api/credits/packages"] = AnyReads,
        ["POST /api/credits/check"] = OwnReads,
        ["POST /api/credits/deduct"] = Spends,
        ["POST /api/credits/deduct/batch"] = Spends,
        ["POST /api/credits/track"] = Spends,
        ["POST /api/credits/refunds"] = Serves,
        ["POST /api/credits/reservations"] = Spends,
        ["POST /api/credits/reservations/{reservationId:guid}/commit"] = Serves,
        ["POST /api/credits/reservations/{reservationId:guid}/release"] = Serves,
        ["POST /api/credits/reservations/{reservationId:guid}/extend"] = Serves,
        ["POST /api/chat/messages"] = Spends,
        ["POST /api/chat/sessions"] = Serves,
        ["POST /api/chat/sessions/{sessionId:guid}/time"] = Serves,
        ["GET /api/usage/stats"] = OwnReads,
        ["GET /api/usage/features"] = OwnReads,
        ["GET /api/usage/logs"] = OwnReads,
        ["GET /api/usage/logs.csv"] = OwnReads,
        ["GET /api/notifications"] = OwnReads,
        ["POST /api/notifications/{notificationId:guid}/read"] = OwnReads,
        ["POST /api/notifications/read-all"] = OwnReads,
        ["GET /api/admin/keys"] = Administers,
        ["POST /api/admin/keys"] = Administers,
        ["DELETE /api/admin/keys/{keyId}"] = Administers,
        ["GET /api/admin/accounts"] = Administers,
        ["GET /api/admin/accounts/{userId:guid}"] = Administers,
        ["GET /api/admin/accounts/{userId:guid}/balance"] = Administers,
        ["GET /api/admin/accounts/{userId:guid}/entries"] = Administers,
        ["GET /api/admin/accounts/{userId:guid}/grants"] = Administers,
        ["POST /api/admin/accounts/{userId:guid}/grants"] = Administers,
        ["POST /api/admin/accounts/{userId:guid}/adjustments"] = Administers,
        ["PUT /api/admin/accounts/{userId:guid}/plan"] = Administers,
        ["PUT /api/admin/accounts/{userId:guid}/threshold"] = Administers,
        ["POST /api/admin/accounts/{userId:guid}/suspend"] = Administers,
        ["POST /api/admin/accounts/{userId:guid}/reactivate"] = Administers,
        ["POST /api/admin/accounts/{userId:guid}/close"] = Administers,
        ["POST /api/admin/accounts/{userId:guid}/erase"] = Administers,
        ["POST /api/admin/accounts/{userId:guid}/resets/rollback"] = Administers,
        ["GET /api/admin/verify"] = Administers,
        ["GET /api/admin/costs"] = Administers,
        ["GET /api/admin/costs/{actionType}/changes"] = Administers,
        ["PUT /api/admin/costs/{actionType}"] = Administers,
        ["GET /api/admin/plans"] = Administers,
        ["PUT /api/admin/plans/{planId}"] = Administers,
        ["PUT /api/admin/plans/{planId}/allowances/{creditType}"] = Administers,
        ["DELETE /api/admin/plans/{planId}/allowances/{creditType}"] = Administers,
        ["PUT /api/admin/plans/{planId}/features/{actionType}"] = Administers,
        ["DELETE /api/admin/plans/{planId}/features/{actionType}"] = Administers,
        ["GET /api/admin/packages"] = Administers,
        ["PUT /api/admin/packages/{packageId}"] = Administers,
        ["GET /health/live"] = Open,
        ["GET /health/ready"] = Open,
        ["GET /metrics"] = Administers,
        ["GET /api/usage/events"] = OwnReads,
        ["POST /api/credits/purchase"] = OwnReads,
        ["GET /api/credits/purchases"] = OwnReads,
        ["GET /api/credits/top-up"] = OwnReads,
        ["PUT /api/credits/top-up"] = OwnReads,
        ["GET /api/admin/payment-events"] = Administers,
        ["POST /api/admin/payment-events/{id:guid}/retry"] = Administers,
        ["POST /api/admin/payment-events/{id:guid}/dismiss"] = Administers,
        ["POST /api/admin/purchases/{purchaseId:guid}/refund"] = Administers,
        ["GET /api/admin/alerts"] = Administers,
        ["POST /api/admin/alerts/{alertId:guid}/acknowledge"] = Administers,
        ["POST /api/admin/purchases/{purchaseId:guid}/reinstate"] = Administers,
        ["GET /api/admin/webhooks"] = Administers,
        ["POST /api/admin/webhooks"] = Administers,
        ["PUT /api/admin/webhooks/{endpointId:guid}"] = Administers,
        ["DELETE /api/admin/webhooks/{endpointId:guid}"] = Administers,
        ["POST /api/admin/webhooks/{endpointId:guid}/test"] = Administers,
        ["POST /api/admin/webhooks/{endpointId:guid}/rotate-secret"] = Administers,
        ["POST /api/admin/webhooks/{endpointId:guid}/retry-dead"] = Administers,
        ["GET /api/admin/webhooks/dead"] = Administers,
        ["POST /api/admin/webhooks/dead/{deliveryId:guid}/retry"] = Administers,
    };

    [Fact]
    public void Every_endpoint_has_a_row() => Assert.Equal(Routes(host.Services).Order(StringComparer.Ordinal), Matrix.Keys.Order(StringComparer.Ordinal));

    [Fact]
    public async Task Every_endpoint_lets_in_whom_it_should()
    {
        await using var factory = host.Configured(
            [("Access:AnonymousRequestsPerSecond", "1000000"), ("Access:UserRequestsPerSecond", "1000000"), ("Access:KeyRequestsPerSecond", "1000000")]);
        var (me, other) = (await host.Database.Account(100_000), await host.Database.Account(100_000));
        string Token(HttpClient client) => client.DefaultRequestHeaders.Authorization!.Parameter!;
        string?[] credentials =
        [
            null, "cdb_garbage", Token(await host.UserAsync(me)), Token(await host.UserAsync(me, "spend")), Token(await host.UserAsync(other, "spend")),
            await host.KeyAsync(["user", "spend"], me), await host.KeyAsync(["service"]), await host.KeyAsync(["admin"]),
        ];
        await host.Database.Run("select credits.set_package('small', 100, 900, 'EUR')");
        using var anonymous = factory.CreateClient();
        var document = await anonymous.Get("/openapi/v1.json").JsonAsync();

        var wrong = new List<string>();
        foreach (var (route, expected) in Matrix)
        {
            var found = "";
            foreach (var credential in credentials)
            {
                var (letter, answer) = await AskAsync(factory, document, route, credential, route.Contains("/api/admin/accounts/", StringComparison.Ordinal) ? await host.Database.Account(100) : me);
                found += letter;
                if (letter == '?')
                    wrong.Add($"{route}: {answer}");
            }

            if (found != expected)
                wrong.Add($"{route}: {found} instead of {expected}");
        }

        Assert.Equal([], wrong);
    }

    internal static IEnumerable<string> Routes(IServiceProvider services) =>
        from endpoint in services.GetRequiredService<EndpointDataSource>().Endpoints.OfType<RouteEndpoint>()
        from method in endpoint.Metadata.GetMetadata<HttpMethodMetadata>()?.HttpMethods ?? ["GET"]
        select $"{method} /{endpoint.RoutePattern.RawText!.Trim('/')}";

    private static async Task<(char Letter, string Answer)> AskAsync(WebApplicationFactory<Program> factory, JsonElement document, string route, string? credential, Guid user)
    {
        var method = route.Split(' ')[0];
        var pattern = route.Split(' ')[1];
        var operation = document.GetProperty("paths").TryGetProperty(pattern.Replace(":guid", "", StringComparison.Ordinal), out var path) ? path.GetProperty(method.ToLowerInvariant()) : default;
        var url = pattern.Replace("{userId:guid}", user.ToString(), StringComparison.Ordinal)
            .Replace("{planId}", "demo", StringComparison.Ordinal).Replace("{creditType}", "chat_messages", StringComparison.Ordinal).Replace("{keyId}", "aaaaaaaaaaaa", StringComparison.Ordinal)
            .Replace("{actionType}", "weekly_report", StringComparison.Ordinal).Replace("{packageId}", "matrix", StringComparison.Ordinal);
        url = System.Text.RegularExpressions.Regex.Replace(url, @"\{\w+:guid\}", _ => Guid.NewGuid().ToString()) + $"?userId={user}&at=2020-01-01T00:00:00Z";
        using var request = new HttpRequestMessage(new HttpMethod(method), url);
        if (operation.ValueKind == JsonValueKind.Object && operation.TryGetProperty("requestBody", out var body))
        {
            // Keys have unique names.
            var example = body.GetProperty("content").GetProperty("application/json").GetProperty("example").GetRawText()
                .Replace("00000000-0000-0000-0000-0000000000aa", user.ToString(), StringComparison.Ordinal).Replace("web shop", Guid.NewGuid().ToString(), StringComparison.Ordinal);
            request.Content = new StringContent(example, Encoding.UTF8, "application/json");
        }

        using var client = factory.CreateClient();
        if (credential is not null)
            request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", credential);
        if (method != "GET")
            request.Headers.Add("Idempotency-Key", Guid.NewGuid().ToString());

        // Events never end; what is wrong does.
        using var response = await client.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, TestContext.Current.CancellationToken);
        var text = response.IsSuccessStatusCode ? "" : await response.Content.ReadAsStringAsync(TestContext.Current.CancellationToken);
        var code = text.StartsWith('{') && JsonDocument.Parse(text).RootElement.TryGetProperty("code", out var c) ? c.GetString() : "";
        return ((int)response.StatusCode switch
        {
            401 => '1',
            403 when code is "forbidden" or "another_user" or "scope_missing" => '3',
            // The examples are well-formed, so nothing that is let in may fail on them for another reason than the state of things.
            400 or 403 or 415 or 429 or >= 500 => '?',
            _ => '+',
        }, text);
    }
}

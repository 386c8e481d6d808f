using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;
using CreditDb.Tests.Api;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Npgsql;

namespace CreditDb.Tests.Operations;

/// <summary>What leaves the host beside its answers: logs and traces. They tell what happened, and no secret.</summary>
public sealed class SecretsTests(ApiHost host) : IClassFixture<ApiHost>
{
    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Logs_hold_no_key_token_or_password_at_any_level_and_name_the_trace()
    {
        var login = "login_" + Guid.NewGuid().ToString("N");
        var password = Guid.NewGuid().ToString("N");
        await host.Database.Run($"create role {login} login superuser password '{password}'");
        var connection = new NpgsqlConnectionStringBuilder(host.Database.ConnectionString) { Username = login, Password = password };
        try
        {
            using var process = HostProcess.Start(
                ["--Logging:LogLevel:Default=Trace", "--Logging:LogLevel:CreditDb=Trace", "--Logging:Console:FormatterName=json", "--Logging:Console:FormatterOptions:IncludeScopes=true"],
                new Dictionary<string, string?> { ["ConnectionStrings__CreditDb"] = connection.ConnectionString });
            var secrets = new List<string> { password };
            var traces = await CallAsync(await process.AddressAsync(), secrets);
            var (exitCode, output, error) = await process.TerminateAsync();

            Assert.Equal(0, exitCode);
            Assert.Equal("", error);
            var hashes = await host.Database.Column<byte[]>("select hash from credits.api_keys union all select hash_key from credits.api_keys");
            secrets.AddRange(hashes.Select(Convert.ToBase64String));
            secrets.AddRange(hashes.Select(Convert.ToHexStringLower));
            secrets.AddRange((await host.Database.Column<string>("select xml from credits.data_protection_keys")).Select(xml => xml.Split("<value>")[1].Split('<')[0]));
            Assert.True(secrets.TrueForAll(s => s.Length > 20));
            Assert.Equal([], secrets.Where(s => output.Contains(s, StringComparison.OrdinalIgnoreCase)));

            // The requests were logged, each line is JSON, and its scopes lead from a problem's trace id to it.
            JsonElement[] lines = [.. output.Split('\n').Where(line => line.StartsWith('{')).Select(line => JsonDocument.Parse(line).RootElement)];
            var requests = lines.Where(l => l.Text("Category") == "Microsoft.AspNetCore.Hosting.Diagnostics").ToList();
            Assert.Contains(requests, l => l.Text("Message").Contains("/api/credits/balance", StringComparison.Ordinal));
            Assert.All(traces, trace => Assert.Contains(requests, l => l.GetProperty("Scopes").GetRawText().Contains($"\"TraceId\":\"{trace}\"", StringComparison.Ordinal)));
        }
        finally
        {
            await host.Database.Run($"drop role {login}");
        }
    }

    [Fact]
    public async Task By_default_a_request_is_no_line_of_the_log()
    {
        using var process = HostProcess.Start([], new Dictionary<string, string?> { ["ConnectionStrings__CreditDb"] = host.Database.ConnectionString });
        await CallAsync(await process.AddressAsync(), []);
        var (_, output, error) = await process.TerminateAsync();
        Assert.Equal((4, ""), (output.Split('\n').Length, error));
    }

    [Fact]
    public async Task Traces_and_metrics_reach_a_collector_without_query_strings_also_those_of_the_last_second()
    {
        await using var collector = await Collector.StartAsync();
        using var process = HostProcess.Start([], new Dictionary<string, string?>
        {
            ["ConnectionStrings__CreditDb"] = host.Database.ConnectionString,
            ["OTEL_EXPORTER_OTLP_ENDPOINT"] = collector.Url,
            ["OTEL_EXPORTER_OTLP_PROTOCOL"] = "http/protobuf",
            ["OTEL_SERVICE_NAME"] = "credits of a test",
        });
        var secrets = new List<string>();
        var traces = await CallAsync(await process.AddressAsync(), secrets);
        Assert.Equal(0, (await process.TerminateAsync()).ExitCode);

        var (spans, metrics) = (collector.Of("/v1/traces"), collector.Of("/v1/metrics"));
        foreach (var expected in new[] { "credits of a test", "/api/credits/balance", "http.response.status_code", "GET /api/credits/balance", "select credits.deduct_credits_for_action" })
            Assert.Contains(expected, spans, StringComparison.Ordinal);
        Assert.All(traces, trace => Assert.Contains(Encoding.Latin1.GetString(Convert.FromHexString(trace)), spans, StringComparison.Ordinal));
        foreach (var expected in new[] { "creditdb.operation.duration", "creditdb.credits.deducted", "http.server.request.duration", "dotnet.gc.collections", "db.client.operation" })
            Assert.Contains(expected, metrics, StringComparison.Ordinal);
        foreach (var nowhere in secrets.Concat(["url.query", "userId=", "/health/", "Password"]))
            Assert.DoesNotContain(nowhere, spans + metrics, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_collector_that_is_no_url_stops_the_host()
    {
        var (exitCode, _, error) = await HostProcess.RunAsync([], environment: new Dictionary<string, string?>
        {
            ["ConnectionStrings__CreditDb"] = host.Database.ConnectionString,
            ["OTEL_EXPORTER_OTLP_ENDPOINT"] = "collector",
        });
        Assert.Equal(1, exitCode);
        Assert.Contains("OTEL_EXPORTER_OTLP_ENDPOINT", error, StringComparison.Ordinal);
    }

    /// <summary>Good and bad requests with everything secret that a request can have; returns the trace ids of the refused ones.</summary>
    private async Task<List<string>> CallAsync(Uri address, List<string> secrets)
    {
        var user = await host.Database.Account(10);
        var (service, admin) = (await host.KeyAsync(["service"]), await host.KeyAsync(["admin"]));
        var token = (await host.UserAsync(user)).DefaultRequestHeaders.Authorization!.Parameter!;
        var wrong = service[..^8] + "aaaaaaaa";
        using var client = new HttpClient { BaseAddress = address };
        List<string> traces = [];
        async Task Call(string? credential, HttpMethod method, string path, object? body = null)
        {
            using var request = new HttpRequestMessage(method, path) { Content = body is null ? null : System.Net.Http.Json.JsonContent.Create(body) };
            request.Headers.Authorization = credential is null ? null : new AuthenticationHeaderValue("Bearer", credential);
            request.Headers.Add("Idempotency-Key", Guid.NewGuid().ToString());
            using var answer = await client.SendAsync(request, Ct);
            var text = await answer.Content.ReadAsStringAsync(Ct);
            if (!answer.IsSuccessStatusCode)
                traces.Add(JsonDocument.Parse(text).RootElement.Text("traceId"));
            else if (text.Contains("\"key\"", StringComparison.Ordinal))
                secrets.Add(JsonDocument.Parse(text).RootElement.Text("key")[17..]);
            else if (text.Contains("\"token\"", StringComparison.Ordinal))
                secrets.Add(JsonDocument.Parse(text).RootElement.Text("token"));
        }

        await Call(service, HttpMethod.Get, $"/api/credits/balance?userId={user}");
        await Call(service, HttpMethod.Post, "/api/credits/deduct", new { userId = user, actionType = "create_agent" });
        await Call(service, HttpMethod.Post, "/api/credits/deduct", new { userId = user, actionType = "create_agent", quantity = "x" });
        await Call(service, HttpMethod.Post, "/api/tokens", new { userId = user });
        await Call(admin, HttpMethod.Post, "/api/admin/keys", new { name = $"logged {Guid.NewGuid()}", scopes = new[] { "service" } });
        await Call(token, HttpMethod.Get, "/api/credits/balance");
        await Call(wrong, HttpMethod.Get, "/api/credits/balance");
        await Call(null, HttpMethod.Get, $"/api/credits/balance?access_token={token}");
        await Call(null, HttpMethod.Get, $"/api/nowhere?a=1&access_token={service}");
        await Call(null, HttpMethod.Get, "/health/ready");
        secrets.AddRange([service[17..], admin[17..], token, wrong[17..]]);
        return traces;
    }

    /// <summary>Takes OTLP over HTTP.</summary>
    private sealed class Collector(WebApplication app) : IAsyncDisposable
    {
        private readonly List<(string Path, string Body)> _received = [];

        public string Url => app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.First();

        public static async Task<Collector> StartAsync()
        {
            var builder = WebApplication.CreateSlimBuilder();
            builder.Logging.ClearProviders();
            builder.WebHost.UseUrls("http://127.0.0.1:0");
            var app = builder.Build();
            var collector = new Collector(app);
            app.Run(async context =>
            {
                using var body = new MemoryStream();
                await context.Request.Body.CopyToAsync(body);
                lock (collector._received)
                    collector._received.Add((context.Request.Path, Encoding.Latin1.GetString(body.ToArray())));
                context.Response.ContentType = "application/x-protobuf";
            });
            await app.StartAsync(Ct);
            return collector;
        }

        public string Of(string path)
        {
            lock (_received)
                return string.Concat(_received.Where(r => r.Path == path).Select(r => r.Body));
        }

        public ValueTask DisposeAsync() => app.DisposeAsync();
    }
}

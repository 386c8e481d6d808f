using CreditDb.Host.Access;
using CreditDb.Host.Api;
using Microsoft.Extensions.Options;

namespace CreditDb.Host.Operations;

/// <summary>What those who run the host need: probes, metrics, traces, and an end that loses nothing.</summary>
internal static class OperationsSetup
{
    private const string ReadsMetrics = nameof(ReadsMetrics);

    public static void AddOperations(this IServiceCollection services)
    {
        // The framework tags its traces only when told so.
        AppContext.SetSwitch("Microsoft.AspNetCore.Hosting.SuppressActivityOpenTelemetryData", false);

        services.AddOptions<OperationsOptions>().BindConfiguration(OperationsOptions.Section, o => o.ErrorOnUnknownConfiguration = true)
            .ValidateDataAnnotations()
            .ValidateOnStart();
        services.AddOptions<HostOptions>().Configure<IOptions<OperationsOptions>>((host, operations) =>
            host.ShutdownTimeout = TimeSpan.FromSeconds(operations.Value.DrainSeconds + operations.Value.ShutdownSeconds));
        services.AddSingleton<Readiness>();
        services.AddSingleton<PrometheusExporter>();
        services.AddSingleton<Telemetry>();
        services.AddSingleton<IStartupFilter, RequestTags>();
        services.AddHostedService<Drain>();
        services.AddAuthorizationBuilder().AddPolicy(ReadsMetrics, p => p.RequireAssertion(context =>
            context.User.HasClaim(Caller.ScopeClaim, "admin") || (context.Resource is HttpContext http && IsOpenTo(http))));
    }

    public static void MapOperations(this WebApplication app)
    {
        // Measures from now on, not from the first scrape.
        app.Services.GetRequiredService<Telemetry>();

        var health = app.MapGroup("/health").AllowAnonymous().DisableRateLimiting().DisableHttpMetrics().ExcludeFromDescription();
        health.MapGet("/live", () => TypedResults.Ok(new Health("live")));
        health.MapGet("/ready", async Task<IResult> (Readiness readiness, HttpContext context) =>
        {
            if (await readiness.CheckAsync(context.RequestAborted) is not { } problem)
                return TypedResults.Ok(new Health("ready"));
            await Problems.WriteAsync(context, problem);
            return TypedResults.Empty;
        });
        app.MapGet("/metrics", (PrometheusExporter exporter) => TypedResults.Text(exporter.Scrape(), PrometheusExporter.ContentType))
            .RequireAuthorization(ReadsMetrics).DisableHttpMetrics().ExcludeFromDescription();
    }

    // A request that a proxy on this machine passes on comes from elsewhere.
    private static bool IsOpenTo(HttpContext context) =>
        context.RequestServices.GetRequiredService<IOptions<OperationsOptions>>().Value.MetricsAreOpen
        || (context.Connection.RemoteIpAddress is { } address && System.Net.IPAddress.IsLoopback(address)
            && !context.Request.Headers.ContainsKey("X-Forwarded-For") && !context.Request.Headers.ContainsKey("Forwarded")
            && !context.Request.Headers.ContainsKey("Via"));

    internal sealed record Health(string Status);
}

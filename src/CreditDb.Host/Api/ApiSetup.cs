using Microsoft.AspNetCore.Http.Json;
using Microsoft.AspNetCore.RateLimiting;

namespace CreditDb.Host.Api;

/// <summary>What the endpoints have in common.</summary>
internal static class ApiSetup
{
    public static void AddApi(this IServiceCollection services)
    {
        services.Configure<JsonOptions>(options => JsonRules.Apply(options.SerializerOptions));

        // So that a malformed request is a problem document in production too.
        services.Configure<RouteHandlerOptions>(options => options.ThrowOnBadRequest = true);
        services.Configure<RateLimiterOptions>(limiter => limiter.AddConcurrencyLimiter(UsageEndpoints.Downloads, options => options.PermitLimit = 8));
        services.AddApiDocument();
    }
}

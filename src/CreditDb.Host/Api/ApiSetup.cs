using System.Threading.RateLimiting;
using CreditDb.Host.Access;
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
        services.Configure<RateLimiterOptions>(limiter => limiter.AddPolicy(UsageEndpoints.Downloads, Downloads));
        services.AddApiDocument();
    }

    /// <summary>JSON is UTF-8; ASP.NET would take another known encoding, and stumble over an unknown one.</summary>
    public static Task RefuseOtherCharsets(HttpContext context, RequestDelegate next) =>
        context.Request.ContentType?.Contains("charset", StringComparison.OrdinalIgnoreCase) == true
        && context.Request.GetTypedHeaders().ContentType?.Charset.ToString().Trim('"') is { Length: > 0 } charset && !charset.Equals("utf-8", StringComparison.OrdinalIgnoreCase)
            ? Problems.WriteAsync(context, new ProblemException(415, "unsupported_media_type", "Send JSON as UTF-8."))
            : next(context);

    /// <summary>A download holds a connection to the database as long as its reader takes, so nobody gets many at once.</summary>
    private static RateLimitPartition<string> Downloads(HttpContext context)
    {
        var user = context.User.FindFirst(Caller.UserClaim)?.Value;
        var name = user ?? context.User.FindFirst(Caller.KeyClaim)?.Value ?? "";
        return RateLimitPartition.GetConcurrencyLimiter(name, _ => new ConcurrencyLimiterOptions { PermitLimit = user is null ? 8 : 2 });
    }
}

using System.Threading.RateLimiting;
using CreditDb.Host.Access;
using Microsoft.AspNetCore.Http.Json;
using Microsoft.AspNetCore.RateLimiting;
using Npgsql;

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

    /// <summary>
    /// The binding that the build generates marks an optional parameter that it cannot read, where it throws for others, takes an empty one for none, and
    /// puts a text that is there twice together.
    /// </summary>
    public static ValueTask<object?> RefuseUnreadable(EndpointFilterInvocationContext context, EndpointFilterDelegate next)
    {
        var http = context.HttpContext;
        return http.Response.StatusCode == StatusCodes.Status400BadRequest
            || (http.Request.Query.Any(q => q.Value.Count != 1 || q.Value == "") && Problems.Unreadable(http) is not null)
            ? throw new BadHttpRequestException("A parameter cannot be read.")
            : next(context);
    }

    /// <summary>PostgreSQL keeps no text with a NUL character, so none is looked for either.</summary>
    public static ValueTask<object?> RefuseNul(EndpointFilterInvocationContext context, EndpointFilterDelegate next)
    {
        var request = context.HttpContext.Request;
        var wrong = request.Query.Where(q => q.Value.Any(HasNul)).Select(q => q.Key).Concat(request.RouteValues.Where(r => HasNul(r.Value as string)).Select(r => r.Key)).FirstOrDefault();
        return wrong is null ? next(context) : throw new ProblemException(400, "invalid_argument", $"{wrong}: must have no NUL character", wrong);

        static bool HasNul(string? text) => text?.Contains('\0', StringComparison.Ordinal) is true;
    }

    /// <summary>However many users download, half of the connections stay for everything else.</summary>
    public static RateLimitPartition<string> AllDownloads(HttpContext context) =>
        context.GetEndpoint()?.Metadata.GetMetadata<EnableRateLimitingAttribute>()?.PolicyName == UsageEndpoints.Downloads
            ? RateLimitPartition.GetConcurrencyLimiter("downloads", _ => new ConcurrencyLimiterOptions
            {
                PermitLimit = Math.Max(1, new NpgsqlConnectionStringBuilder(context.RequestServices.GetRequiredService<NpgsqlDataSource>().ConnectionString).MaxPoolSize / 2),
            })
            : RateLimitPartition.GetNoLimiter("");

    /// <summary>A download holds a connection to the database as long as its reader takes, so nobody gets many at once.</summary>
    private static RateLimitPartition<string> Downloads(HttpContext context)
    {
        var user = context.User.FindFirst(Caller.UserClaim)?.Value;
        var name = user ?? context.User.FindFirst(Caller.KeyClaim)?.Value ?? "";
        return RateLimitPartition.GetConcurrencyLimiter(name, _ => new ConcurrencyLimiterOptions { PermitLimit = user is null ? 8 : 2 });
    }
}

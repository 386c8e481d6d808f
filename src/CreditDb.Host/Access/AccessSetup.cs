using System.Globalization;
using System.Threading.RateLimiting;
using CreditDb.Host.Api;
using Microsoft.AspNetCore.Authentication;
using Microsoft.AspNetCore.DataProtection;
using Microsoft.AspNetCore.DataProtection.KeyManagement;
using Microsoft.AspNetCore.RateLimiting;
using Microsoft.Extensions.Options;

namespace CreditDb.Host.Access;

/// <summary>Who may do what. Every endpoint names one of these policies, or says that it is open to all (AllowAnonymous); a test finds one that says neither.</summary>
internal static class AccessSetup
{
    /// <summary>A user for itself, a service for any user.</summary>
    public const string Reads = nameof(Reads);

    /// <summary>A service, or a user with a scope to spend (the endpoint checks the action by <see cref="Caller.MaySpendOn"/>).</summary>
    public const string Spends = nameof(Spends);

    /// <summary>A service.</summary>
    public const string Serves = nameof(Serves);

    /// <summary>An operator.</summary>
    public const string Administers = nameof(Administers);

    public static void AddAccess(this IServiceCollection services)
    {
        services.AddOptions<AccessOptions>().BindConfiguration(AccessOptions.Section, o => o.ErrorOnUnknownConfiguration = true)
            .ValidateDataAnnotations()
            .Validate(
                o => o.CorsOrigins.All(origin => Uri.TryCreate(origin, UriKind.Absolute, out var uri) && uri.GetLeftPart(UriPartial.Authority) == origin),
                "Access:CorsOrigins must be origins such as https://app.example.com, without a path.")
            .ValidateOnStart();
        services.AddSingleton<IHttpContextFactory, HiddenTokens>();
        services.AddSingleton<ApiKeys>();
        services.AddSingleton<UserTokens>();
        services.AddSingleton<KeyRing>();
        services.AddDataProtection().SetApplicationName("CreditDb");
        services.AddOptions<KeyManagementOptions>().Configure<KeyRing>((options, ring) => options.XmlRepository = ring);

        services.AddAuthentication(CallerAuthentication.SchemeName)
            .AddScheme<AuthenticationSchemeOptions, CallerAuthentication>(CallerAuthentication.SchemeName, null);
        services.AddAuthorizationBuilder()
            .AddPolicy(Reads, p => p.RequireClaim(Caller.ScopeClaim, "service", "user"))
            .AddPolicy(Spends, p => p.RequireAssertion(context => context.User.HasClaim(c =>
                c.Type == Caller.ScopeClaim && (c.Value is "service" or "spend" || c.Value.StartsWith("spend:", StringComparison.Ordinal)))))
            .AddPolicy(Serves, p => p.RequireClaim(Caller.ScopeClaim, "service"))
            .AddPolicy(Administers, p => p.RequireClaim(Caller.ScopeClaim, "admin"));

        services.AddCors();
        services.AddOptions<Microsoft.AspNetCore.Cors.Infrastructure.CorsOptions>().Configure<IOptions<AccessOptions>>((cors, access) => cors.AddDefaultPolicy(p => p
            .WithOrigins(access.Value.CorsOrigins).AllowAnyHeader().AllowAnyMethod().WithExposedHeaders("ETag", "Retry-After")));

        services.AddRateLimiter(limiter =>
        {
            limiter.RejectionStatusCode = StatusCodes.Status429TooManyRequests;
            limiter.GlobalLimiter = PartitionedRateLimiter.CreateChained(
                PartitionedRateLimiter.Create<HttpContext, string>(PartitionOf), PartitionedRateLimiter.Create<HttpContext, string>(ApiSetup.AllDownloads));
            limiter.OnRejected = async (context, _) =>
            {
                var wait = context.Lease.TryGetMetadata(MetadataName.RetryAfter, out var after) ? Math.Max(1, (int)Math.Ceiling(after.TotalSeconds)) : 1;
                context.HttpContext.Response.Headers.RetryAfter = wait.ToString(CultureInfo.InvariantCulture);
                await Problems.WriteAsync(context.HttpContext, new ProblemException(429, "too_many_requests", $"Slow down: try again in {wait} s."));
            };
        });
    }

    /// <summary>Counts a request as several: what one request could do as often as it likes would have no limit.</summary>
    public static void Count(HttpContext context, int times, string field)
    {
        var most = 2 * context.RequestServices.GetRequiredService<IOptions<AccessOptions>>().Value.UserRequestsPerSecond;
        if (times > most)
            throw new ProblemException(400, "invalid_argument", $"{field}: a user's token may send at most {most} at once.", field);
        var limiter = context.RequestServices.GetRequiredService<IOptions<RateLimiterOptions>>().Value.GlobalLimiter!;
        using var lease = times > 1 ? limiter.AttemptAcquire(context, times - 1) : null;
        if (lease is { IsAcquired: false })
            throw new ProblemException(429, "too_many_requests", "Slow down: try again in 1 s.");
    }

    private static RateLimitPartition<string> PartitionOf(HttpContext context)
    {
        var options = context.RequestServices.GetRequiredService<IOptions<AccessOptions>>().Value;
        var (name, rate) = (context.User.FindFirst(Caller.UserClaim)?.Value, context.User.FindFirst(Caller.KeyClaim)?.Value) switch
        {
            ({ } user, _) => ("user " + user, options.UserRequestsPerSecond),
            (_, { } key) => ("key " + key, options.KeyRequestsPerSecond),
            _ => ("address " + context.Connection.RemoteIpAddress, options.AnonymousRequestsPerSecond),
        };
        return RateLimitPartition.GetTokenBucketLimiter(name, _ => new TokenBucketRateLimiterOptions
        {
            TokenLimit = 2 * rate,
            TokensPerPeriod = Math.Max(1, rate / 10),
            ReplenishmentPeriod = TimeSpan.FromSeconds(Math.Max(1, rate / 10) / (double)rate),
            QueueLimit = 0,
        });
    }
}

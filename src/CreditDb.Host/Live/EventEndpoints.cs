using CreditDb.Host.Access;
using Microsoft.AspNetCore.Mvc;

namespace CreditDb.Host.Live;

/// <summary>Live updates.</summary>
internal static class EventEndpoints
{
    public static void AddLive(this IServiceCollection services)
    {
        services.AddOptions<LiveOptions>().BindConfiguration(LiveOptions.Section, o => o.ErrorOnUnknownConfiguration = true)
            .ValidateDataAnnotations()
            .ValidateOnStart();
        services.AddSingleton<LiveMetrics>();
        services.AddSingleton<LiveStream>();
        services.AddSingleton<LiveUpdates>();
        services.AddHostedService(provider => provider.GetRequiredService<LiveUpdates>());
    }

    public static void MapEvents(this IEndpointRouteBuilder api) => api
        .MapGet("/usage/events", (HttpContext context, Caller caller, LiveStream stream, Guid? userId, string? lastEventId,
                [FromHeader(Name = "Last-Event-ID")] string? lastEventIdHeader) =>
            stream.RunAsync(context, caller.For(userId), caller.KeyId, lastEventIdHeader ?? lastEventId))
        .RequireAuthorization(AccessSetup.Reads)
        .WithMetadata(new TokenInQuery())
        .Produces(StatusCodes.Status200OK, contentType: "text/event-stream")
        .WithTags("Usage")
        .WithSummary("Balance, entries and notifications as they change")
        .WithDescription("Server-sent events: a snapshot, then balance, entry and notification. Last-Event-ID, or lastEventId in the query, goes on after that event.");

    /// <summary>Shows those who watch what was written on behalf of a user, at once and whatever came of it: a decline leaves a notification.</summary>
    public static RouteGroupBuilder ShowsAtOnce(this RouteGroupBuilder api) => api.AddEndpointFilter(async (context, next) =>
    {
        try
        {
            return await next(context);
        }
        finally
        {
            if (!HttpMethods.IsGet(context.HttpContext.Request.Method))
            {
                var live = context.HttpContext.RequestServices.GetRequiredService<LiveUpdates>();
                foreach (var user in context.Arguments.OfType<Caller>().SelectMany(c => c.ActedFor))
                    live.Touch(user);
            }
        }
    });
}

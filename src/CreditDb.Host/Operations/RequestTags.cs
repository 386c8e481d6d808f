using System.Diagnostics;
using Microsoft.AspNetCore.Http.Features;

namespace CreditDb.Host.Operations;

/// <summary>Tells traces how a request ended and which endpoint it was, which this framework's own tags do not. Sees a request first and last.</summary>
internal sealed class RequestTags : IStartupFilter
{
    public Action<IApplicationBuilder> Configure(Action<IApplicationBuilder> next) => app =>
    {
        app.Use(async (context, rest) =>
        {
            await rest(context);
            if (context.Features.Get<IHttpActivityFeature>()?.Activity is not { IsAllDataRequested: true } activity)
                return;
            activity.SetTag("http.response.status_code", context.Response.StatusCode);
            if (context.Response.StatusCode >= StatusCodes.Status500InternalServerError)
                activity.SetStatus(ActivityStatusCode.Error);
            if (context.GetEndpoint() is RouteEndpoint { RoutePattern.RawText: { } route })
            {
                activity.SetTag("http.route", route);
                activity.DisplayName = $"{context.Request.Method} {route}";
            }
        });
        next(app);
    };
}

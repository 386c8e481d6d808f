using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.WebUtilities;

namespace CreditDb.Host.Live;

/// <summary>
/// Takes ?access_token=… out of a request before anything looks at it: no log, trace or error has it. Only endpoints that take it there
/// (<see cref="Access.TokenInQuery"/>) find it again.
/// </summary>
internal sealed class QueryTokens(IServiceProvider services) : IHttpContextFactory
{
    private const string Name = "access_token";

    private readonly DefaultHttpContextFactory _factory = new(services);

    public HttpContext Create(IFeatureCollection featureCollection)
    {
        var request = featureCollection.GetRequiredFeature<IHttpRequestFeature>();
        if (request.QueryString.Contains(Name, StringComparison.OrdinalIgnoreCase))
        {
            var query = QueryHelpers.ParseQuery(request.QueryString);
            if (query.Remove(Name, out var token))
            {
                featureCollection.Set(new QueryToken(token.ToString()));
                request.QueryString = QueryString.Create(query).Value ?? "";
                request.RawTarget = request.PathBase + request.Path + request.QueryString;
            }
        }

        return _factory.Create(featureCollection);
    }

    public void Dispose(HttpContext httpContext) => _factory.Dispose(httpContext);
}

/// <summary>The token that a request had in its query.</summary>
internal sealed record QueryToken(string Text);

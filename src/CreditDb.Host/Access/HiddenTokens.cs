using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.WebUtilities;

namespace CreditDb.Host.Access;

/// <summary>Takes ?access_token=… out of a request before anything can log or trace its address.</summary>
internal sealed class HiddenTokens(IServiceProvider services) : IHttpContextFactory
{
    private const string Name = "access_token";

    private readonly DefaultHttpContextFactory _contexts = new(services);

    /// <summary>The token that the address had.</summary>
    public static string? Of(HttpContext context) => context.Items[Name] as string;

    public HttpContext Create(IFeatureCollection featureCollection)
    {
        var request = featureCollection.GetRequiredFeature<IHttpRequestFeature>();
        string? token = null;
        if (request.QueryString.Contains(Name, StringComparison.OrdinalIgnoreCase))
        {
            var query = QueryHelpers.ParseQuery(request.QueryString);
            if (query.Remove(Name, out var values))
                token = values.ToString();
            request.QueryString = QueryString.Create(query).ToUriComponent();
            request.RawTarget = request.RawTarget.Split('?')[0] + request.QueryString;
        }

        var context = _contexts.Create(featureCollection);
        if (token is { Length: > 0 })
            context.Items[Name] = token;
        return context;
    }

    public void Dispose(HttpContext httpContext) => _contexts.Dispose(httpContext);
}

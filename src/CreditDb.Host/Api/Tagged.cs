using System.Security.Cryptography;
using System.Text.Json;
using Microsoft.AspNetCore.Http.Json;
using Microsoft.Extensions.Options;
using Microsoft.Net.Http.Headers;

namespace CreditDb.Host.Api;

/// <summary>
/// An answer with an ETag, or 304 to who has it already. The tag is made of the whole answer, as more than entries changes a balance: what falls due by time, and
/// what is owed or held.
/// </summary>
internal static class Tagged
{
    public static IResult Of<T>(HttpContext context, T value, string prefix = "")
    {
        var body = JsonSerializer.SerializeToUtf8Bytes(value, context.RequestServices.GetRequiredService<IOptions<JsonOptions>>().Value.SerializerOptions);
        context.Response.Headers.CacheControl = "private, no-cache";
        return TypedResults.Bytes(
            body, "application/json; charset=utf-8", entityTag: new EntityTagHeaderValue($"\"{prefix}{Convert.ToHexStringLower(SHA256.HashData(body).AsSpan(0, 12))}\""));
    }
}

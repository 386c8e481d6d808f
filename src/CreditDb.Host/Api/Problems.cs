using System.ComponentModel;
using System.Diagnostics;
using System.Reflection;
using System.Text.Json;
using System.Text.Json.Nodes;
using Microsoft.AspNetCore.Diagnostics;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Http.Metadata;
using Microsoft.AspNetCore.Mvc;
using Npgsql;

namespace CreditDb.Host.Api;

/// <summary>Turns whatever went wrong into a problem document (RFC 9457) with a code that programs go by.</summary>
internal sealed partial class Problems(ILogger<Problems> logger) : IExceptionHandler
{
    private const string RetryAfterSeconds = "1";

    /// <summary>The one table of codes and statuses; what is not in it is 409 (the state does not allow it).</summary>
    public static int StatusOf(string code) => code switch
    {
        "invalid_argument" => StatusCodes.Status400BadRequest,
        "insufficient_credits" or "limit_reached" => StatusCodes.Status402PaymentRequired,
        "account_suspended" => StatusCodes.Status403Forbidden,
        "unknown_account" or "unknown_action" or "not_found" => StatusCodes.Status404NotFound,
        "key_reused" or "key_erased" => StatusCodes.Status422UnprocessableEntity,
        _ => StatusCodes.Status409Conflict,
    };

    public async ValueTask<bool> TryHandleAsync(HttpContext httpContext, Exception exception, CancellationToken cancellationToken)
    {
        if (exception is OperationCanceledException && httpContext.RequestAborted.IsCancellationRequested)
        {
            httpContext.Response.StatusCode = StatusCodes.Status499ClientClosedRequest;
            return true;
        }

        var problem = Of(exception, httpContext);
        if (problem.Status == StatusCodes.Status500InternalServerError)
            Unexpected(exception, httpContext.Request.Method, httpContext.Request.Path);
        else if (problem.Status == StatusCodes.Status503ServiceUnavailable)
            Unavailable(exception.Message, httpContext.Request.Method, httpContext.Request.Path);
        await WriteAsync(httpContext, problem);
        return true;
    }

    public static Task WriteAsync(HttpContext context, ProblemException refused) => WriteAsync(context, Of(refused, context));

    /// <summary>The documents that ASP.NET itself makes (404 of an unknown path, 405, 415) get a code too.</summary>
    public static void Complete(ProblemDetailsContext context)
    {
        var problem = context.ProblemDetails;
        if (!problem.Extensions.ContainsKey("code"))
        {
            Name(problem, problem.Status switch
            {
                404 => "no_such_endpoint",
                405 => "method_not_allowed",
                413 => "body_too_large",
                415 => "unsupported_media_type",
                _ => "http_" + problem.Status,
            });
        }

        problem.Detail ??= problem.Status switch
        {
            404 => "There is no such endpoint; /openapi/v1.json lists them all.",
            405 => "The endpoint does not take this method.",
            413 => "The body is larger than 1 MB.",
            415 => "The body must be application/json.",
            _ => null,
        };
        problem.Extensions["traceId"] = TraceId(context.HttpContext);
    }

    private static Task WriteAsync(HttpContext context, ProblemDetails problem)
    {
        if (context.Response.HasStarted)
        {
            context.Abort();
            return Task.CompletedTask;
        }

        context.Response.StatusCode = problem.Status!.Value;
        if (problem.Status is StatusCodes.Status503ServiceUnavailable or StatusCodes.Status429TooManyRequests && context.Response.Headers.RetryAfter.Count == 0)
            context.Response.Headers.RetryAfter = RetryAfterSeconds;
        problem.Extensions["traceId"] = TraceId(context);
        return context.Response.WriteAsJsonAsync(problem, JsonSerializerOptions.Web, "application/problem+json");
    }

    private static ProblemDetails Of(Exception exception, HttpContext context) => exception switch
    {
        ProblemException e => Document(e.Status, e.Code, e.Message, e.Field),
        CreditException { Outcome: { } outcome } e => Declined(e, outcome),
        CreditException e => Refused(e),
        BadHttpRequestException { InnerException: JsonException json } => Malformed(json),
        BadHttpRequestException { StatusCode: 413 } => Document(413, "body_too_large", "The body is larger than this endpoint takes, which is 1 MB."),
        BadHttpRequestException { StatusCode: 400 } e when Unreadable(context) is { } name => Document(400, "malformed_request", $"The parameter {name} is missing, is there twice or has another form{Form(context, name)}.", name),
        BadHttpRequestException { StatusCode: 400 } when EndpointOf(context)?.Metadata.GetMetadata<IAcceptsMetadata>() is not null
            && context.Features.Get<IHttpRequestBodyDetectionFeature>()?.CanHaveBody is false =>
            Document(400, "malformed_json", "The body is missing: send JSON."),
        BadHttpRequestException { StatusCode: 400 } => Document(400, "malformed_request", "The body, or a parameter, is missing or cannot be read."),
        BadHttpRequestException { StatusCode: 415 } => Document(415, "unsupported_media_type", "The body must be application/json."),
        BadHttpRequestException e => Document(e.StatusCode, "malformed_request", e.Message),
        PostgresException
        {
            SqlState: PostgresErrorCodes.CharacterNotInRepertoire or PostgresErrorCodes.UntranslatableCharacter or PostgresErrorCodes.NumericValueOutOfRange
                or PostgresErrorCodes.DatetimeFieldOverflow or PostgresErrorCodes.InvalidTextRepresentation,
        } e => Document(400, "unstorable_value", $"A text or number of the request cannot be stored: {e.MessageText}."),
        PostgresException { SqlState: PostgresErrorCodes.SerializationFailure or PostgresErrorCodes.DeadlockDetected or PostgresErrorCodes.LockNotAvailable } =>
            Document(503, "busy", "Others were at the same rows; try again."),
        PostgresException { SqlState: ['5', '3' or '7', ..] or ['0', '8', ..] } => Away(),
        PostgresException => Unknown(),
        NpgsqlException or TimeoutException => Away(),
        _ => Unknown(),
    };

    private static ProblemDetails Malformed(JsonException json)
    {
        // A path such as $.items[3].quantity or $['a b'].
        var field = json.Path?.TrimStart('$').Replace("['", "/", StringComparison.Ordinal).Replace("']", "", StringComparison.Ordinal)
            .Replace('[', '/').Replace("]", "", StringComparison.Ordinal).Replace('.', '/').Trim('/');
        return json is FieldException e
            ? Document(400, "invalid_argument", $"{field}: {e.Problem}", field)
            : Document(400, "malformed_json", string.IsNullOrEmpty(field)
                ? "The body is not the JSON that this endpoint takes."
                : $"The body is not the JSON that this endpoint takes: {field} is unknown here, of another type, or there twice.", field);
    }

    /// <summary>The parameter of the path or query that has another form than the endpoint takes.</summary>
    public static string? Unreadable(HttpContext context) => Parameters(context).FirstOrDefault(p => context.Request.Query.TryGetValue(p.Name!, out var values)
        ? values.Count > 1 || !IsReadable(p.ParameterType, values.ToString())
        : p.ParameterType == typeof(DateTimeOffset))?.Name;

    private static bool IsReadable(Type type, string text) => text.Length > 0 ? TypeDescriptor.GetConverter(type).IsValid(text) : type == typeof(string);

    private static ParameterInfo[] Parameters(HttpContext context) =>
        EndpointOf(context)?.Metadata.GetMetadata<MethodInfo>()?.GetParameters() ?? [];

    /// <summary>An exception's handling has no endpoint any more.</summary>
    private static Endpoint? EndpointOf(HttpContext context) => context.Features.Get<IExceptionHandlerFeature>()?.Endpoint ?? context.GetEndpoint();

    private static string Form(HttpContext context, string name) =>
        Parameters(context).First(p => p.Name == name).ParameterType is { } type && (Nullable.GetUnderlyingType(type) ?? type) == typeof(DateTimeOffset)
            ? " than 2026-01-31T12:00:00Z or 2026-01-31T13:00:00%2B01:00 (a plus sign is %2B in an address)"
            : "";

    private static ProblemDetails Away() => Document(503, "database_unavailable", "The database cannot be reached; try again.");

    private static ProblemDetails Unknown() => Document(500, "internal_error", "Something went wrong here; the trace id finds it in the log.");

    private static ProblemDetails Declined(CreditException e, Outcome outcome)
    {
        var problem = Document(StatusOf(outcome.Code), outcome.Code, e.Message);
        Add(problem, JsonSerializer.SerializeToNode(outcome, outcome.GetType(), JsonSerializerOptions.Web)!.AsObject());
        return problem;
    }

    private static ProblemDetails Refused(CreditException e)
    {
        var detail = e.Detail is { } text ? JsonNode.Parse(text)!.AsObject() : [];
        var field = e is InvalidArgumentException ? FieldOf((string?)detail["argument"]) : null;
        var problem = Document(StatusOf(e.Code), e.Code, field is null ? e.Message : $"{field}: {(string?)detail["problem"]}", field);
        if (e is not InvalidArgumentException)
            Add(problem, new JsonObject(detail.Select(pair => KeyValuePair.Create(JsonRules.Camel(pair.Key), pair.Value?.DeepClone()))));
        return problem;
    }

    private static ProblemDetails Document(int status, string code, string detail, string? field = null)
    {
        var problem = new ProblemDetails { Status = status, Detail = detail };
        Name(problem, code);
        if (!string.IsNullOrEmpty(field))
            problem.Extensions["errors"] = new[] { new { pointer = "#/" + field, detail } };
        return problem;
    }

    private static void Name(ProblemDetails problem, string code)
    {
        problem.Type = "urn:creditdb:" + code;
        problem.Title = char.ToUpperInvariant(code[0]) + code[1..].Replace('_', ' ');
        problem.Extensions["code"] = code;
    }

    private static void Add(ProblemDetails problem, JsonObject fields)
    {
        foreach (var (name, value) in fields)
        {
            // The document has a status of its own.
            if (!IsNone(value, problem.Status == StatusCodes.Status404NotFound) && name is not ("success" or "code" or "error"))
                problem.Extensions[name is "status" ? "state" : name] = value;
        }
    }

    /// <summary>What the outcome does not tell: an id of zeros and, where nothing was found, whatever is empty.</summary>
    private static bool IsNone(JsonNode? value, bool isNotFound) => value is null
        || (value is JsonValue one && one.TryGetValue<Guid>(out var id) && id == Guid.Empty)
        || (isNotFound && value.ToJsonString() is "0" or "\"\"" or "[]" or "{}" or "false");

    /// <summary>The argument p_action_type of a function is the field actionType of a request, and p_usage.success is usage/success.</summary>
    public static string? FieldOf(string? argument) => argument switch
    {
        null => null,
        "p_ttl" => "ttlSeconds",
        "p_overlap" => "overlapHours",
        _ => JsonRules.Camel(argument.StartsWith("p_", StringComparison.Ordinal) ? argument[2..] : argument).Replace('.', '/'),
    };

    private static string TraceId(HttpContext context) => Activity.Current?.TraceId.ToString() ?? context.TraceIdentifier;

    [LoggerMessage(Level = LogLevel.Error, Message = "{Method} {Path} failed")]
    private partial void Unexpected(Exception exception, string method, string path);

    [LoggerMessage(Level = LogLevel.Warning, Message = "{Method} {Path} was not served: {Reason}")]
    private partial void Unavailable(string reason, string method, string path);
}

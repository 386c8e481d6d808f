using System.Globalization;
using System.Text.Json.Nodes;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.OpenApi;
using Microsoft.OpenApi;

namespace CreditDb.Host.Api;

/// <summary>The OpenAPI document: what ASP.NET knows of the endpoints, with their examples, their problems and how to authenticate.</summary>
internal static class ApiDocument
{
    private const string Scheme = "bearer";
    private const string ProblemSchema = "Problem";

    /// <summary>An example of the request, for the document.</summary>
    public static RouteHandlerBuilder WithExample(this RouteHandlerBuilder endpoint, string json) => endpoint.WithMetadata(new RequestExample(json));

    /// <summary>The codes of the problems that the endpoint has beside those that all have.</summary>
    public static RouteHandlerBuilder WithProblems(this RouteHandlerBuilder endpoint, params string[] codes) => endpoint.WithMetadata(new ProblemCodes(codes));

    public static void AddApiDocument(this IServiceCollection services) => services.AddOpenApi(options =>
    {
        options.OpenApiVersion = OpenApiSpecVersion.OpenApi3_1;
        options.AddDocumentTransformer((document, _, _) =>
        {
            document.Info = new OpenApiInfo
            {
                Title = "CreditDb",
                Version = "v1",
                Description = "Usage credits. Amounts are credits with up to six decimals; quantities are priced units. Fields that an endpoint does not know are refused.",
            };
            document.Servers = null;
            return Task.CompletedTask;
        });
        options.AddOperationTransformer((operation, context, _) =>
        {
            Describe(operation, context);
            return Task.CompletedTask;
        });
        options.AddSchemaTransformer((schema, context, _) =>
        {
            // A converter of ours hides what it reads and writes.
            var type = context.JsonTypeInfo.Type;
            if (type == typeof(decimal) || type == typeof(double))
                schema.Type = JsonSchemaType.Number;
            else if (type == typeof(decimal?) || type == typeof(double?))
                schema.Type = JsonSchemaType.Number | JsonSchemaType.Null;
            else if (type == typeof(string) || type == typeof(Guid))
                schema.Type ??= JsonSchemaType.String;
            else if (type == typeof(Guid?))
                schema.Type = JsonSchemaType.String | JsonSchemaType.Null;
            else if (type == typeof(JsonObject) || type == typeof(JsonNode))
                schema.Type = JsonSchemaType.Object;

            foreach (var field in context.JsonTypeInfo.Properties.Where(JsonRules.IsRequired))
                (schema.Required ??= new HashSet<string>(StringComparer.Ordinal)).Add(field.Name);
            return Task.CompletedTask;
        });
    });

    /// <summary>Made once, as making it takes a good part of a second and anybody may ask for it.</summary>
    public static void MapApiDocument(this IEndpointRouteBuilder app)
    {
        var document = new Lazy<Task<byte[]>>(() => MakeAsync(app.ServiceProvider.GetRequiredKeyedService<IOpenApiDocumentProvider>("v1")));
        app.MapGet("/openapi/v1.json", async () => TypedResults.Bytes(await document.Value, "application/json; charset=utf-8")).AllowAnonymous().ExcludeFromDescription();
    }

    private static async Task<byte[]> MakeAsync(IOpenApiDocumentProvider provider)
    {
        using var text = new MemoryStream();
        await (await provider.GetOpenApiDocumentAsync()).SerializeAsJsonAsync(text, OpenApiSpecVersion.OpenApi3_1);
        return text.ToArray();
    }

    private static void Describe(OpenApiOperation operation, OpenApiOperationTransformerContext context)
    {
        var (document, metadata) = (context.Document!, context.Description.ActionDescriptor.EndpointMetadata);
        var isRead = context.Description.HttpMethod is "GET";
        var codes = metadata.OfType<ProblemCodes>().SelectMany(p => p.Codes).ToList();
        if (context.Description.ParameterDescriptions.Count > 0 || operation.RequestBody is not null)
            codes.Add("invalid_argument");
        if (operation.RequestBody is { Content: { } body })
        {
            codes.AddRange(["malformed_json", "body_too_large", "unsupported_media_type"]);
            if (metadata.OfType<RequestExample>().LastOrDefault() is { } example && body.TryGetValue("application/json", out var json))
                json.Example = JsonNode.Parse(example.Json);
        }

        foreach (var limit in (operation.Parameters ?? []).Where(p => p.Name == "limit").Select(p => p.Schema).OfType<OpenApiSchema>())
            (limit.Minimum, limit.Maximum) = ("1", "200");
        if (!isRead && !metadata.OfType<IAllowAnonymous>().Any())
        {
            codes.Add("invalid_idempotency_key");
            var isRequired = codes.Contains("idempotency_key_required");
            operation.Parameters = [.. (operation.Parameters ?? []).Where(p => p.Name != IdempotencyKey.Header)];
            operation.Parameters.Add(new OpenApiParameter
            {
                Name = IdempotencyKey.Header,
                In = ParameterLocation.Header,
                Required = isRequired,
                Description = (isRequired ? "1 to 100 printable ASCII characters." : "1 to 255 printable ASCII characters (a user's token: 250).")
                    + " A write that is repeated with it is done once in 30 days, and answered as the first time.",
                Schema = new OpenApiSchema { Type = JsonSchemaType.String, MinLength = 1, MaxLength = isRequired ? 100 : 255, Pattern = "^[ -~]+$" },
                Example = "7c1d9a52-order-17",
            });
        }

        if (!metadata.OfType<IAllowAnonymous>().Any())
        {
            AddComponents(document);
            operation.Security = [new OpenApiSecurityRequirement { [new OpenApiSecuritySchemeReference(Scheme, document)] = [] }];
            codes.AddRange(["unauthenticated", "forbidden", "too_many_requests", "database_unavailable"]);
        }

        operation.Responses ??= [];
        foreach (var codesOfStatus in codes.Distinct(StringComparer.Ordinal).GroupBy(StatusOf).OrderBy(g => g.Key))
        {
            AddComponents(document);
            var status = codesOfStatus.Key.ToString(CultureInfo.InvariantCulture);
            operation.Responses[status] = new OpenApiResponse
            {
                Description = string.Join(", ", codesOfStatus),
                Content = new Dictionary<string, OpenApiMediaType>
                {
                    ["application/problem+json"] = new()
                    {
                        Schema = new OpenApiSchemaReference(ProblemSchema, document),
                        Examples = codesOfStatus.ToDictionary(code => code, code => (IOpenApiExample)new OpenApiExample { Value = Example(code, codesOfStatus.Key) }),
                    },
                },
            };
        }
    }

    private static void AddComponents(OpenApiDocument document)
    {
        if (document.Components?.SecuritySchemes?.ContainsKey(Scheme) is true)
            return;
        document.AddComponent<IOpenApiSecurityScheme>(Scheme, new OpenApiSecurityScheme
        {
            Type = SecuritySchemeType.Http,
            Scheme = "bearer",
            Description = "An API key (cdb_…) or a user token (cdbu_…).",
        });
        document.AddComponent<IOpenApiSchema>(ProblemSchema, new OpenApiSchema
        {
            Type = JsonSchemaType.Object,
            Description = "A problem document (RFC 9457). Programs go by code. What was declined has the outcome's fields too, such as required and available.",
            Required = new HashSet<string> { "type", "title", "status", "detail", "code", "traceId" },
            Properties = new Dictionary<string, IOpenApiSchema>
            {
                ["type"] = new OpenApiSchema { Type = JsonSchemaType.String },
                ["title"] = new OpenApiSchema { Type = JsonSchemaType.String },
                ["status"] = new OpenApiSchema { Type = JsonSchemaType.Integer },
                ["detail"] = new OpenApiSchema { Type = JsonSchemaType.String },
                ["code"] = new OpenApiSchema { Type = JsonSchemaType.String },
                ["traceId"] = new OpenApiSchema { Type = JsonSchemaType.String },
                ["errors"] = new OpenApiSchema
                {
                    Type = JsonSchemaType.Array,
                    Items = new OpenApiSchema
                    {
                        Type = JsonSchemaType.Object,
                        Properties = new Dictionary<string, IOpenApiSchema>
                        {
                            ["pointer"] = new OpenApiSchema { Type = JsonSchemaType.String, Description = "The field, as a JSON pointer." },
                            ["detail"] = new OpenApiSchema { Type = JsonSchemaType.String },
                        },
                    },
                },
            },
        });
    }

    private static int StatusOf(string code) => code switch
    {
        "malformed_json" or "invalid_idempotency_key" or "idempotency_key_required" => 400,
        "unauthenticated" => 401,
        "forbidden" => 403,
        "body_too_large" => 413,
        "unsupported_media_type" => 415,
        "too_many_requests" => 429,
        "database_unavailable" => 503,
        _ => Problems.StatusOf(code),
    };

    private static JsonObject Example(string code, int status)
    {
        var problem = new JsonObject
        {
            ["type"] = "urn:creditdb:" + code,
            ["title"] = char.ToUpperInvariant(code[0]) + code[1..].Replace('_', ' '),
            ["status"] = status,
            ["detail"] = DetailOf(code),
            ["code"] = code,
            ["traceId"] = "4bf92f3577b34da6a3ce929d0e0e4736",
        };
        if (code is "invalid_argument" or "malformed_json")
            problem["errors"] = new JsonArray(new JsonObject { ["pointer"] = "#/" + DetailOf(code).Split(' ', ':')[0], ["detail"] = DetailOf(code) });
        if (code is "insufficient_credits")
            (problem["required"], problem["available"]) = (5, 3);
        return problem;
    }

    private static string DetailOf(string code) => code switch
    {
        "invalid_argument" => "quantity: must be greater than zero",
        "malformed_json" => "qty is unknown here, of another type, or there twice.",
        "invalid_idempotency_key" => "Idempotency-Key: must have 1 to 255 printable ASCII characters.",
        "idempotency_key_required" => "Send an Idempotency-Key of 1 to 100 ASCII characters, the same one when you repeat the request.",
        "unauthenticated" => "The key or token is unknown, revoked or expired.",
        "forbidden" => "This key or token may not do that: it needs the scope service.",
        "body_too_large" => "The body is larger than this endpoint takes, which is 1 MB.",
        "unsupported_media_type" => "The body must be application/json.",
        "too_many_requests" => "Slow down: try again in 1 s.",
        "database_unavailable" => "The database cannot be reached; try again.",
        "insufficient_credits" => "Create Agent needs 5 credits; 3 available.",
        "limit_reached" => "The plan's limit for this action is reached in this period.",
        "account_suspended" => "The account is suspended.",
        "unknown_account" => "There is no account for this user.",
        "unknown_action" => "There is no price for this action.",
        "inactive_action" => "The action is switched off.",
        "not_found" => "There is no such reservation.",
        "already_settled" => "Nothing is left of it.",
        "key_reused" => "The idempotency key was used for another request.",
        _ => "The state does not allow it.",
    };

    private sealed record RequestExample(string Json);

    private sealed record ProblemCodes(string[] Codes);
}

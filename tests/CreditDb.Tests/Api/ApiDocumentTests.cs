using System.Text.Json;
using System.Text.RegularExpressions;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Http.Metadata;
using Microsoft.AspNetCore.OpenApi;
using Microsoft.AspNetCore.Routing;
using Microsoft.AspNetCore.Routing.Template;
using Microsoft.Extensions.DependencyInjection;

namespace CreditDb.Tests.Api;

/// <summary>The OpenAPI document and requests.http are complete and true.</summary>
public sealed partial class ApiDocumentTests(ApiHost host) : IClassFixture<ApiHost>
{
    private static string RequestsFile => Path.Combine(Pages.Repository, "src", "CreditDb.Host", "requests.http");

    [Fact]
    public async Task Every_endpoint_is_documented_with_a_summary_examples_and_its_problems()
    {
        using var anonymous = host.Anonymous();
        var document = await anonymous.Get("/openapi/v1.json").JsonAsync();
        Assert.StartsWith("3.1", document.Text("openapi"), StringComparison.Ordinal);
        Assert.Equal("http", document.GetProperty("components").GetProperty("securitySchemes").GetProperty("bearer").Text("type"));

        var missing = new List<string>();
        foreach (var endpoint in host.Services.GetRequiredService<EndpointDataSource>().Endpoints.OfType<RouteEndpoint>())
        {
            var pattern = "/" + ParameterPolicy().Replace(endpoint.RoutePattern.RawText!.Trim('/'), "");
            if (!pattern.StartsWith("/api/", StringComparison.Ordinal))
                continue;
            foreach (var method in endpoint.Metadata.GetRequiredMetadata<HttpMethodMetadata>().HttpMethods)
            {
                if (!document.GetProperty("paths").TryGetProperty(pattern, out var path) || !path.TryGetProperty(method.ToLowerInvariant(), out var operation))
                {
                    missing.Add($"{method} {pattern}");
                    continue;
                }

                missing.AddRange(Missing(operation, method, endpoint).Select(what => $"{method} {pattern}: {what}"));
            }
        }

        Assert.Equal([], missing);
    }

    [Fact]
    public async Task Every_field_and_parameter_has_a_type()
    {
        using var anonymous = host.Anonymous();
        var document = await anonymous.Get("/openapi/v1.json").JsonAsync();
        var schemas = document.GetProperty("components").GetProperty("schemas").EnumerateObject()
            .SelectMany(s => s.Value.TryGetProperty("properties", out var fields) ? fields.EnumerateObject().Select(f => ($"{s.Name}.{f.Name}", Schema: f.Value)) : []);
        var parameters = document.GetProperty("paths").EnumerateObject().SelectMany(p => p.Value.EnumerateObject().SelectMany(o =>
            o.Value.TryGetProperty("parameters", out var them) ? them.EnumerateArray().Select(q => ($"{o.Name} {p.Name} {q.Text("name")}", Schema: q.GetProperty("schema"))) : []));
        var untyped = schemas.Concat(parameters)
            .Where(f => !f.Schema.EnumerateObject().Any(p => p.Name is "type" or "$ref" or "anyOf" or "oneOf" or "enum")).Select(f => f.Item1).ToList();
        Assert.Equal([], untyped);
    }

    [Theory]
    [InlineData("/api/credits/purchase", true, 100)]
    [InlineData("/api/admin/purchases/{purchaseId}/refund", true, 100)]
    [InlineData("/api/credits/deduct", false, 255)]
    public async Task It_says_where_a_key_must_be_and_that_ids_are_uuids(string path, bool isRequired, int longest)
    {
        using var anonymous = host.Anonymous();
        var document = await anonymous.Get("/openapi/v1.json").JsonAsync();
        var operation = document.GetProperty("paths").GetProperty(path).GetProperty("post");
        var header = operation.GetProperty("parameters").EnumerateArray().Single(p => p.Text("name") == "Idempotency-Key");
        Assert.Equal((isRequired, longest), (header.TryGetProperty("required", out var required) && required.GetBoolean(), header.GetProperty("schema").GetProperty("maxLength").GetInt32()));
        Assert.Equal("uuid", document.GetProperty("components").GetProperty("schemas").GetProperty("Account").GetProperty("properties").GetProperty("userId").Text("format"));
    }

    [Fact]
    public async Task The_document_is_made_once_however_often_anybody_asks()
    {
        var made = 0;
        await using var factory = host.Configured([], services => services.Configure<OpenApiOptions>("v1", options => options.AddDocumentTransformer((_, _, _) =>
        {
            Interlocked.Increment(ref made);
            return Task.CompletedTask;
        })));
        using var anonymous = factory.CreateClient();
        var texts = await Task.WhenAll(Enumerable.Range(0, 10).Select(async _ => (await anonymous.Get("/openapi/v1.json").JsonAsync()).GetRawText()));
        Assert.Equal((1, 1), (made, texts.Distinct().Count()));
        await anonymous.Get("/openapi/v2.json").ProblemAsync(404, "no_such_endpoint");
    }

    [Fact]
    public async Task Every_reference_of_the_document_leads_somewhere()
    {
        using var anonymous = host.Anonymous();
        var text = await (await anonymous.Get("/openapi/v1.json")).Content.ReadAsStringAsync(TestContext.Current.CancellationToken);
        var schemas = JsonDocument.Parse(text).RootElement.GetProperty("components").GetProperty("schemas");
        Assert.Equal([], Reference().Matches(text).Select(m => m.Groups[1].Value).Distinct().Where(name => !schemas.TryGetProperty(name, out _)));
        Assert.Equal("number", schemas.GetProperty("Deduct").GetProperty("properties").GetProperty("quantity").GetProperty("type")[1].GetString());
        Assert.Equal(["actionType"], schemas.GetProperty("Deduct").GetProperty("required").EnumerateArray().Select(r => r.GetString()));
    }

    [Fact]
    public void Requests_http_names_existing_endpoints_only()
    {
        var routes = AuthorisationMatrixTests.Routes(host.Services).Select(r => (Method: r.Split(' ')[0], Matcher: new TemplateMatcher(TemplateParser.Parse(r.Split(' ')[1].TrimStart('/')), []))).ToList();
        var requests = RequestLine().Matches(File.ReadAllText(RequestsFile)).ToList();
        Assert.True(requests.Count > 20);
        Assert.Equal([], requests.Where(r => !routes.Exists(route => route.Method == r.Groups[1].Value
            && route.Matcher.TryMatch(Variable().Replace(r.Groups[2].Value, Guid.Empty.ToString()).Split('?')[0], []))).Select(r => r.Value));
    }

    [Fact]
    public async Task Requests_http_runs_from_top_to_bottom()
    {
        var variables = new Dictionary<string, string>(StringComparer.Ordinal) { ["host"] = "" };
        var answers = new Dictionary<string, JsonElement>(StringComparer.Ordinal);
        string Filled(string text) => Variable().Replace(text, m =>
        {
            var name = m.Groups[1].Value;
            if (name.Split(".response.body.$.") is [var answer, var field])
                return answers[answer].Text(field);
            return name == "$guid" ? Guid.NewGuid().ToString() : variables[name];
        });

        foreach (var part in File.ReadAllText(RequestsFile).Split("###"))
        {
            foreach (Match m in Definition().Matches(part))
                variables.TryAdd(m.Groups[1].Value, m.Groups[1].Value == "admin" ? host.Admin.DefaultRequestHeaders.Authorization!.Parameter! : Filled(m.Groups[2].Value.Trim()));
            if (RequestLine().Match(part) is not { Success: true } line)
                continue;
            var rest = part[(line.Index + line.Length)..].TrimStart('\r', '\n').Split("\n\n", 2);
            using var request = new HttpRequestMessage(new HttpMethod(line.Groups[1].Value), Filled(line.Groups[2].Value));
            if (rest.Length > 1 && rest[1].Trim().Length > 0)
                request.Content = new StringContent(Filled(rest[1]), System.Text.Encoding.UTF8, "application/json");
            foreach (var header in rest[0].Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries).Where(h => !h.StartsWith("Content-Type", StringComparison.Ordinal)))
                request.Headers.TryAddWithoutValidation(header.Split(": ", 2)[0], Filled(header.Split(": ", 2)[1]));
            using var client = host.Anonymous();
            using var response = await client.SendAsync(request, TestContext.Current.CancellationToken);
            var text = await response.Content.ReadAsStringAsync(TestContext.Current.CancellationToken);
            Assert.True(response.IsSuccessStatusCode, $"{line.Value}: {text}");
            if (RequestName().Match(part) is { Success: true } name)
                answers[name.Groups[1].Value] = JsonDocument.Parse(text).RootElement;
        }

        Assert.True(answers.Count > 2);
    }

    private static IEnumerable<string> Missing(JsonElement operation, string method, RouteEndpoint endpoint)
    {
        if (!operation.TryGetProperty("summary", out var summary) || summary.GetString() is not { Length: > 0 })
            yield return "a summary";
        if (!operation.TryGetProperty("tags", out var tags) || tags[0].GetString() == "CreditDb.Host")
            yield return "a tag";
        if (endpoint.Metadata.GetMetadata<IAcceptsMetadata>() is not null
            && !(operation.TryGetProperty("requestBody", out var body) && body.GetProperty("content").EnumerateObject().Any(c => c.Value.TryGetProperty("example", out _))))
            yield return "an example of the body";
        var responses = operation.GetProperty("responses");
        foreach (var response in responses.EnumerateObject().Where(r => r.Name[0] is '4' or '5'))
        {
            if (!response.Value.TryGetProperty("content", out var content) || !content.TryGetProperty("application/problem+json", out var problem) || !problem.TryGetProperty("examples", out _))
                yield return "an example of the problem " + response.Name;
        }

        if (endpoint.Metadata.GetMetadata<IAllowAnonymous>() is null && new[] { "401", "403", "429", "503" }.Any(s => !responses.TryGetProperty(s, out _)))
            yield return "the problems 401, 403, 429 and 503";
        if (endpoint.Metadata.GetMetadata<IAllowAnonymous>() is null && !operation.TryGetProperty("security", out _))
            yield return "its security";
        if (method != "GET" && endpoint.Metadata.GetMetadata<IAllowAnonymous>() is null && !operation.GetRawText().Contains("Idempotency-Key", StringComparison.Ordinal))
            yield return "Idempotency-Key";
    }

    [GeneratedRegex(":[a-z]+(?=})")]
    private static partial Regex ParameterPolicy();

    [GeneratedRegex("\"#/components/schemas/([^\"]+)\"")]
    private static partial Regex Reference();

    [GeneratedRegex(@"^(GET|POST|PUT|DELETE) \{\{host\}\}(\S+)", RegexOptions.Multiline)]
    private static partial Regex RequestLine();

    [GeneratedRegex(@"\{\{([^}]+)\}\}")]
    private static partial Regex Variable();

    [GeneratedRegex(@"^@(\w+) = (.*)$", RegexOptions.Multiline)]
    private static partial Regex Definition();

    [GeneratedRegex(@"^# @name (\w+)", RegexOptions.Multiline)]
    private static partial Regex RequestName();
}

using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Text.Json;
using CreditDb.Host.Access;
using Microsoft.AspNetCore.Mvc.Testing;
using Microsoft.Extensions.DependencyInjection;

namespace CreditDb.Tests.Api;

/// <summary>The host over a migrated database of its own, in memory, and callers of every kind. Verifies the ledger when the class is done.</summary>
public sealed class ApiHost(TestServer server) : IAsyncLifetime
{
    private WebApplicationFactory<Program>? _factory;

    public TestDatabase Database { get; } = new(server);

    /// <summary>Callers with a key of the scope service, and of the scope admin.</summary>
    public HttpClient Service { get; private set; } = null!;

    public HttpClient Admin { get; private set; } = null!;

    public IServiceProvider Services => _factory!.Services;

    public async ValueTask InitializeAsync()
    {
        await Database.InitializeAsync();
        _factory = Configured([]);
        Service = await ClientAsync(["service"]);
        Admin = await ClientAsync(["admin"]);
    }

    public async ValueTask DisposeAsync()
    {
        if (_factory is not null)
            await _factory.DisposeAsync();
        await Database.DisposeAsync();
    }

    /// <summary>Another host on the same database, with settings such as ("Access:TokenMinutes", "1"); the caller disposes of it.</summary>
    public WebApplicationFactory<Program> Configured(IEnumerable<(string Name, string Value)> settings, Action<IServiceCollection>? services = null) =>
        new WebApplicationFactory<Program>().WithWebHostBuilder(web =>
        {
            web.UseSetting("ConnectionStrings:CreditDb", Database.ConnectionString);
            // Tests of other things need nobody who settles and notifies beside them.
            web.UseSetting("Worker:Enabled", "false");
            foreach (var (name, value) in settings)
                web.UseSetting(name, value);
            if (services is not null)
                web.ConfigureServices(services);
        });

    /// <summary>A key in full.</summary>
    public async Task<string> KeyAsync(string[] scopes, Guid? forUser = null) =>
        (await Services.GetRequiredService<ApiKeys>().CreateAsync($"test {Guid.NewGuid()}", scopes, forUser, null, "test", CancellationToken.None)).Key;

    public async Task<HttpClient> ClientAsync(string[] scopes, Guid? forUser = null) => With(await KeyAsync(scopes, forUser));

    /// <summary>A caller with a token for the user, minted by the service; spend or spend:ACTION let it spend.</summary>
    public async Task<HttpClient> UserAsync(Guid user, params string[] scopes)
    {
        var minted = await Service.Post("/api/tokens", new { userId = user, scopes }).JsonAsync();
        return With(minted.Text("token"));
    }

    public HttpClient Anonymous() => _factory!.CreateClient();

    private HttpClient With(string credential)
    {
        var client = Anonymous();
        client.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", credential);
        return client;
    }
}

/// <summary>Short ways to call and to look at what comes back.</summary>
internal static class HttpExtensions
{
    public static Task<HttpResponseMessage> Get(this HttpClient client, string path) => client.Send(HttpMethod.Get, path);

    public static Task<HttpResponseMessage> Delete(this HttpClient client, string path) => client.Send(HttpMethod.Delete, path);

    public static Task<HttpResponseMessage> Post(this HttpClient client, string path, object body, string? idempotencyKey = null) =>
        client.Send(HttpMethod.Post, path, JsonContent.Create(body), ("Idempotency-Key", idempotencyKey));

    public static Task<HttpResponseMessage> Put(this HttpClient client, string path, object body, string? idempotencyKey = null) =>
        client.Send(HttpMethod.Put, path, JsonContent.Create(body), ("Idempotency-Key", idempotencyKey));

    public static async Task<HttpResponseMessage> Send(
        this HttpClient client, HttpMethod method, string path, HttpContent? content = null, params (string Name, string? Value)[] headers)
    {
        using var request = new HttpRequestMessage(method, path) { Content = content };
        foreach (var (name, value) in headers.Where(h => h.Value is not null))
            request.Headers.TryAddWithoutValidation(name, value);
        return await client.SendAsync(request, TestContext.Current.CancellationToken);
    }

    /// <summary>The JSON of an answer that must have this status.</summary>
    public static async Task<JsonElement> JsonAsync(this Task<HttpResponseMessage> answer, int status = 200)
    {
        using var response = await answer;
        var text = await response.Content.ReadAsStringAsync();
        Assert.True((int)response.StatusCode == status, $"{(int)response.StatusCode} instead of {status}: {text}");
        return text.Length == 0 ? default : JsonDocument.Parse(text).RootElement;
    }

    /// <summary>A problem document that must have this status and code.</summary>
    public static async Task<JsonElement> ProblemAsync(this Task<HttpResponseMessage> answer, int status, string code)
    {
        var response = await answer;
        var problem = await Task.FromResult(response).JsonAsync(status);
        Assert.Equal(("application/problem+json", code, status), (response.Content.Headers.ContentType?.MediaType, problem.Text("code"), (int)problem.Number("status")));
        Assert.Equal("urn:creditdb:" + code, problem.Text("type"));
        Assert.NotEqual("", problem.Text("traceId"));
        return problem;
    }
}

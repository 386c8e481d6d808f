using System.Text.Json;
using CreditDb.Tests.Api;

namespace CreditDb.Tests.Operations;

/// <summary>The verb keys, by which a configured database gets its first admin key.</summary>
public sealed class KeysVerbTests(ApiHost host, TestServer server) : IClassFixture<ApiHost>
{
    [Fact]
    public async Task A_key_is_made_shown_once_works_and_ends()
    {
        var name = $"ops {Guid.NewGuid()}";
        var created = await JsonAsync(0, "create", "--name", name, "--scope", "admin", "--expires", "2999-01-31T12:00Z");
        Assert.Equal((name, "2999-01-31T12:00:00+00:00"), (created.Text("keyName"), created.Text("expiresAt")));
        var admin = host.Anonymous();
        admin.DefaultRequestHeaders.Authorization = new("Bearer", created.Text("key"));
        await admin.Get("/api/admin/keys").JsonAsync();

        var listed = (await JsonAsync(0, "list")).GetProperty("keys").EnumerateArray().Single(k => k.Text("keyName") == name);
        Assert.StartsWith("keys ", listed.Text("createdBy"), StringComparison.Ordinal);
        Assert.DoesNotContain(created.Text("key")[17..], listed.GetRawText(), StringComparison.Ordinal);
        Assert.NotEqual("", (await JsonAsync(0, "revoke", created.Text("keyId"))).Text("revokedAt"));
        await Eventually.TrueAsync(async () => (int)(await admin.Get("/api/admin/keys")).StatusCode == 401, "A revoked key still works.");
    }

    [Fact]
    public async Task People_see_a_line_that_can_be_copied()
    {
        var user = await host.Database.Account();
        var (exitCode, output, error) = await RunAsync("create", "--name", $"user {user}", "--scope", "user", "spend:send_email", "--user", $"{user}");
        Assert.Equal((0, ""), (exitCode, error));
        Assert.Matches("^The key [a-z2-7]{12} .* was made. It is not shown again:\ncdb_[a-z2-7]{12}_[a-z2-7]{52}$", output.Trim());
        Assert.Contains($"user {user}", (await RunAsync("list")).Output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task What_is_wrong_is_said_and_has_an_exit_code()
    {
        Assert.Equal(2, (await RunAsync()).ExitCode);
        Assert.Equal(2, (await RunAsync("create", "--name", "x")).ExitCode);
        Assert.Equal(2, (await RunAsync("create", "--name", "x", "--scope", "admin", "--expires", "soon")).ExitCode);
        Assert.Equal("invalid_argument", (await ErrorAsync(2, "create", "--name", "x", "--scope", "everything")).Text("problem"));
        Assert.Contains("scopes must be service, user, admin", (await RunAsync("create", "--name", "x", "--scope", "everything")).Error, StringComparison.Ordinal);
        Assert.Equal("unknown_account", (await ErrorAsync(1, "create", "--name", "x", "--scope", "user", "--user", $"{Guid.NewGuid()}")).Text("problem"));
        Assert.Equal("not_found", (await ErrorAsync(1, "revoke", "aaaaaaaaaaaa")).Text("problem"));
        await JsonAsync(0, "create", "--name", "taken", "--scope", "service");
        Assert.Equal("name_taken", (await ErrorAsync(1, "create", "--name", "taken", "--scope", "service")).Text("problem"));

        await using var empty = await server.CreateDatabaseAsync();
        var (exitCode, _, error) = await HostProcess.RunAsync(["keys", "list", "--connection", empty.ConnectionString]);
        Assert.Equal(3, exitCode);
        Assert.Contains("Run migrate first", error, StringComparison.Ordinal);
    }

    private Task<(int ExitCode, string Output, string Error)> RunAsync(params string[] arguments) =>
        HostProcess.RunAsync(["keys", .. arguments], environment: new Dictionary<string, string?> { ["ConnectionStrings__CreditDb"] = host.Database.ConnectionString });

    private async Task<JsonElement> JsonAsync(int exitCode, params string[] arguments) => (await DocumentAsync(exitCode, arguments)).GetProperty("result");

    private async Task<JsonElement> ErrorAsync(int exitCode, params string[] arguments) => (await DocumentAsync(exitCode, arguments)).GetProperty("error");

    private async Task<JsonElement> DocumentAsync(int exitCode, string[] arguments)
    {
        var result = await RunAsync([.. arguments, "--json"]);
        Assert.True(exitCode == result.ExitCode, $"{result.ExitCode}: {result.Output}{result.Error}");
        var document = JsonDocument.Parse(result.Output).RootElement;
        Assert.Equal("keys " + arguments[0], document.Text("command"));
        return document;
    }
}

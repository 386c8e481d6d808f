using System.Collections;
using System.Globalization;
using System.Net;
using System.Net.Http.Headers;
using System.Net.Sockets;
using System.Reflection;
using System.Text.Json;
using System.Text.RegularExpressions;
using CreditDb.Host;
using CreditDb.Tests.Api;
using Npgsql;

namespace CreditDb.Tests.Operations;

public sealed partial class ConfigurationTests(ApiHost host, TestServer server) : IClassFixture<ApiHost>
{
    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    /// <summary>Every class of settings: a constant Section and properties.</summary>
    private static IEnumerable<(string Section, Type Options)> All => typeof(DatabaseOptions).Assembly.GetTypes()
        .Where(t => t.IsClass && t.Name.EndsWith("Options", StringComparison.Ordinal))
        .Select(t => ((string?)t.GetField("Section", BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.Static)?.GetRawConstantValue(), t))
        .Where(pair => pair.Item1 is not null).Select(pair => (pair.Item1!, pair.t));

    [Fact]
    public async Task The_page_names_every_setting_with_its_default_and_no_other()
    {
        var page = await File.ReadAllTextAsync(Path.Combine(Pages.Repository, "docs/configuration.md"), Ct);
        var stated = Row().Matches(page).ToDictionary(m => m.Groups[1].Value, m => m.Groups[2].Value, StringComparer.Ordinal);
        var sections = All.ToList();
        Assert.True(sections.Count >= 3);
        var actual = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (var (section, options) in sections)
        {
            foreach (var (name, value) in Settings(section, Activator.CreateInstance(options, nonPublic: true)!))
                actual.Add(name, value);
        }

        Assert.Equal([], actual.Keys.Except(stated.Keys));
        Assert.Equal([], stated.Keys.Where(k => sections.Exists(s => k.StartsWith(s.Section + ":", StringComparison.Ordinal))).Except(actual.Keys));
        Assert.All(actual, pair => Assert.Equal((pair.Key, pair.Value), (pair.Key, stated[pair.Key])));
    }

    [Fact]
    public async Task The_example_of_the_page_starts_a_host()
    {
        var page = await File.ReadAllTextAsync(Path.Combine(Pages.Repository, "docs/configuration.md"), Ct);
        var example = page.Split("```json\n")[1].Split("```")[0];
        Assert.True(JsonDocument.Parse(example).RootElement.TryGetProperty("Access", out _));
        var folder = Directory.CreateTempSubdirectory("creditdb-settings-");
        try
        {
            await File.WriteAllTextAsync(Path.Combine(folder.FullName, "appsettings.json"), example, Ct);
            using var process = HostProcess.Start(
                ["--contentRoot=" + folder.FullName, "--Urls=http://127.0.0.1:0"], new Dictionary<string, string?> { ["ConnectionStrings__CreditDb"] = host.Database.ConnectionString });
            using var client = new HttpClient { BaseAddress = await process.AddressAsync() };
            await client.Get("/health/ready").JsonAsync();
            Assert.Equal(0, (await process.TerminateAsync()).ExitCode);
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }

    [Theory]
    [InlineData("--Operations:DrainSeconds=-1", "Operations:DrainSeconds: ")]
    [InlineData("--Operations:ShutdownSeconds=soon", "Operations:ShutdownSeconds")]
    [InlineData("--Operations:DrainSecond=1", "Operations has no setting 'DrainSecond'.")]
    [InlineData("--Access:CorsOrigins:0=https://a.example/path", "Access:CorsOrigins")]
    [InlineData("--Access:UserMetadataBytes=-1", "UserMetadataBytes")]
    [InlineData("--Database:Migrate=never", "Database:Migrate")]
    [InlineData("--Database:RolePrefix=Credit-DB", "RolePrefix")]
    [InlineData("--ConnectionStrings:CreditDb=Host=;Pass word=hidden", "ConnectionStrings:CreditDb")]
    [InlineData("--Urls=127.0.0.1:80:90", "Urls: Invalid url: '127.0.0.1:80:90'")]
    [InlineData("--Urls=http://127.0.0.1:0;http://127.0.0.1:99999", "Urls: Invalid url: 'http://127.0.0.1:99999'")]
    public async Task A_wrong_setting_stops_the_host_and_is_named(string setting, string name)
    {
        var environment = new Dictionary<string, string?> { ["ConnectionStrings__CreditDb"] = host.Database.ConnectionString };
        var (exitCode, output, error) = await HostProcess.RunAsync([setting], environment: environment);
        Assert.Equal(1, exitCode);
        Assert.StartsWith("error: ", error, StringComparison.Ordinal);
        Assert.Contains(name, error, StringComparison.Ordinal);
        Assert.DoesNotContain("hidden", output + error, StringComparison.Ordinal);
        Assert.DoesNotContain("   at ", output + error, StringComparison.Ordinal);
        Assert.Equal("", output);
    }

    [Fact]
    public async Task Several_wrong_settings_are_named_at_once()
    {
        var environment = new Dictionary<string, string?> { ["ConnectionStrings__CreditDb"] = host.Database.ConnectionString };
        var (exitCode, output, error) = await HostProcess.RunAsync(
            ["--Webhooks:Parallel=0", "--Live:StreamsPerUser=0", "--Payments:Provider=paper"], environment: environment);
        Assert.Equal((1, ""), (exitCode, output));
        Assert.Equal(3, error.TrimEnd().Split('\n').Count(line => line.StartsWith("error: ", StringComparison.Ordinal)));
        Assert.All(["Webhooks:Parallel: ", "Live:StreamsPerUser: ", "Payments:Provider must be"], name => Assert.Contains(name, error, StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("--Paymets:Provider=hidden", "Paymets")]
    [InlineData("--Url=hidden", "Url")]
    public async Task A_misspelt_section_on_the_command_line_stops_the_host(string setting, string name)
    {
        var environment = new Dictionary<string, string?> { ["ConnectionStrings__CreditDb"] = host.Database.ConnectionString };
        var (exitCode, output, error) = await HostProcess.RunAsync([setting], environment: environment);
        Assert.Equal((2, ""), (exitCode, output));
        Assert.Equal($"error: There is no setting, and no section of settings, named {name}; docs/configuration.md lists them.\n", error);
    }

    [Fact]
    public async Task A_taken_port_is_said_in_one_line()
    {
        using var taken = new TcpListener(IPAddress.Loopback, 0);
        taken.Start();
        var port = ((IPEndPoint)taken.LocalEndpoint).Port;
        var environment = new Dictionary<string, string?> { ["ConnectionStrings__CreditDb"] = host.Database.ConnectionString };
        var (exitCode, output, error) = await HostProcess.RunAsync([$"--Urls=http://127.0.0.1:{port}"], environment: environment);
        Assert.Equal((1, "The database is up to date."), (exitCode, output.Trim()));
        Assert.Equal($"error: Urls: Failed to bind to address http://127.0.0.1:{port}: address already in use.\n", error);
    }

    [Fact]
    public async Task A_host_that_does_not_migrate_refuses_another_database_than_its_own()
    {
        var database = await server.CloneTemplateAsync();
        string[] arguments = ["--Database:Migrate=false"];
        var environment = new Dictionary<string, string?> { ["ConnectionStrings__CreditDb"] = database };
        await using (var connection = new NpgsqlConnection(database))
        {
            await connection.OpenAsync(Ct);
            await connection.Run("insert into credits.schemaversions (scriptname, applied) values ('migrations.9999_later.sql', now())");
            var (exitCode, _, error) = await HostProcess.RunAsync(arguments, environment: environment);
            Assert.Equal(5, exitCode);
            Assert.Contains("newer than this program", error, StringComparison.Ordinal);

            await connection.Run("delete from credits.schemaversions where scriptname = 'migrations.9999_later.sql'; delete from credits.applied_objects where name = 'functions.charge.sql'");
            (exitCode, _, error) = await HostProcess.RunAsync(arguments, environment: environment);
            Assert.Equal(3, exitCode);
            Assert.Contains("functions.charge.sql", error, StringComparison.Ordinal);
            Assert.Contains("run migrate", error, StringComparison.Ordinal);
            Assert.Equal(0, await connection.Value<long>("select count(*) from credits.applied_objects where name = 'functions.charge.sql'"));

            await connection.Run("drop schema credits cascade");
            Assert.Equal(3, (await HostProcess.RunAsync(arguments, environment: environment)).ExitCode);
            Assert.True(await connection.Value<bool>("select to_regnamespace('credits') is null"));
        }

        await server.DropAsync(database);
    }

    [Fact]
    public async Task A_login_that_is_no_more_than_an_operator_runs_the_host()
    {
        var login = "serve_" + Guid.NewGuid().ToString("N");
        await host.Database.Run($"create role {login} login password 'pass'; grant creditdb_admin to {login}");
        try
        {
            var connection = new NpgsqlConnectionStringBuilder(host.Database.ConnectionString) { Username = login, Password = "pass" };
            using var process = HostProcess.Start(["--Database:Migrate=false"], new Dictionary<string, string?> { ["ConnectionStrings__CreditDb"] = connection.ConnectionString });
            using var client = new HttpClient { BaseAddress = await process.AddressAsync() };
            client.DefaultRequestHeaders.Authorization = host.Admin.DefaultRequestHeaders.Authorization;
            await client.Get("/health/ready").JsonAsync();
            var user = await host.Database.Account(10);
            var made = await client.Post("/api/admin/keys", new { name = login, scopes = new[] { "service" } }).JsonAsync(201);
            client.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", made.Text("key"));
            Assert.Equal(5, (await client.Post("/api/credits/deduct", new { userId = user, actionType = "create_agent" }, "k").JsonAsync()).Number("balanceAfter"));
            var token = (await client.Post("/api/tokens", new { userId = user }).JsonAsync()).Text("token");
            client.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", token);
            Assert.Equal(5, (await client.Get("/api/credits/balance").JsonAsync()).Number("total"));
            Assert.Equal((0, ""), await process.TerminateAsync() is var (exitCode, _, error) ? (exitCode, error) : default);

            // Nor does it need more: a member of the application's role is refused, with the reason.
            await host.Database.Run($"revoke creditdb_admin from {login}; grant creditdb_app to {login}");
            var refused = await HostProcess.RunAsync(["--Database:Migrate=false"], environment: new Dictionary<string, string?> { ["ConnectionStrings__CreditDb"] = connection.ConnectionString });
            Assert.Equal(1, refused.ExitCode);
            Assert.Contains("permission denied", refused.Error, StringComparison.Ordinal);
        }
        finally
        {
            await host.Database.Run($"drop role {login}");
        }
    }

    [Fact]
    public async Task The_journal_is_read_by_operators_and_written_by_none_of_the_roles()
    {
        foreach (var table in new[] { "schemaversions", "applied_objects" })
        {
            foreach (var role in new[] { "creditdb_app", "creditdb_admin", "creditdb_reader", "creditdb_user" })
            {
                Assert.Equal(
                    (role == "creditdb_admin", false),
                    (await host.Database.Value<bool>($"select has_table_privilege('{role}', 'credits.{table}', 'select')"),
                     await host.Database.Value<bool>($"select has_table_privilege('{role}', 'credits.{table}', 'insert, update, delete, truncate')")));
            }
        }
    }

    private static IEnumerable<(string Name, string Value)> Settings(string section, object options) => options.GetType().GetProperties()
        .Where(p => p.CanWrite || p.PropertyType.IsAssignableTo(typeof(IDictionary)))
        .Select(p => (Name: $"{section}:{p.Name}", Value: p.GetValue(options)))
        .SelectMany(p => p.Value?.GetType().Name.EndsWith("Options", StringComparison.Ordinal) == true ? Settings(p.Name, p.Value) : [(p.Name, Text(p.Value))]);

    private static string Text(object? value) => value switch
    {
        null => "",
        bool flag => flag ? "true" : "false",
        string text => text,
        IEnumerable list => string.Join(", ", list.Cast<object>()),
        IFormattable number => number.ToString(null, CultureInfo.InvariantCulture),
        _ => value.ToString()!,
    };

    [GeneratedRegex(@"^\| `([A-Za-z]+:[A-Za-z:]+)` \| (?:`([^`|]*)`)? *\|", RegexOptions.Multiline)]
    private static partial Regex Row();
}

using System.Diagnostics;
using System.Text.Json;

namespace CreditDb.Tests;

public sealed class VerbTests(TestServer server) : IDisposable
{
    private const string Healthy =
        """
        create or replace function credits.verify_ledger(p_user_id uuid default null)
        returns table (user_id uuid, credit_type text, problem text, expected numeric, actual numeric)
        language sql stable as $$ select p_user_id, 'credits', 'balance', 1.5, 2 where false $$;
        create or replace function credits.verify_attachments() returns table (relation regclass, trigger_name name, problem text)
        language sql stable as $$ select 'credits.items'::regclass, 'bot_made'::name, 'missing' where false $$;
        """;

    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("creditdb");

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    public void Dispose() => _folder.Delete(true);

    [Fact]
    public async Task Migrate_status_and_rollback_speak_json_and_exit_codes()
    {
        await using var database = await server.CreateDatabaseAsync();
        Write(new ScriptSet());

        var status = await JsonAsync(database, 3, "status");
        Assert.Equal("pending", status.GetProperty("result").GetProperty("scripts")[0].GetProperty("state").GetString());
        var plan = await JsonAsync(database, 0, "migrate", "--dry-run");
        Assert.Equal(3, plan.GetProperty("result").GetProperty("transactions").GetArrayLength());
        Assert.True(await database.ScalarAsync<bool>("select to_regnamespace('credits') is null"));
        var migrated = await JsonAsync(database, 0, "migrate");
        Assert.Equal(4, migrated.GetProperty("result").GetProperty("applied").GetArrayLength());
        Assert.True((await JsonAsync(database, 0, "status")).GetProperty("result").GetProperty("upToDate").GetBoolean());

        Write(new ScriptSet().With(ScriptSet.Note, "select 1;"));
        await JsonAsync(database, 4, "status");
        var edited = await JsonAsync(database, 4, "migrate");
        Assert.Equal("scriptEdited", edited.GetProperty("error").GetProperty("problem").GetString());

        Write(new ScriptSet().Without(ScriptSet.Note));
        await JsonAsync(database, 5, "migrate");
        await JsonAsync(database, 5, "status");

        Write(new ScriptSet().With("migrations/0003_bad.sql", "select 1;\nselect 1 / 0;"));
        var failed = (await JsonAsync(database, 6, "migrate")).GetProperty("error");
        Assert.Equal(("migrations.0003_bad.sql", 2, "22012"),
            (failed.GetProperty("script").GetString(), failed.GetProperty("line").GetInt32(), failed.GetProperty("sqlState").GetString()));

        Write(new ScriptSet());
        await database.ExecuteAsync("insert into credits.items values (4)");
        var refused = await JsonAsync(database, 7, "rollback", "--to", "none");
        Assert.Equal("use --force", refused.GetProperty("error").GetProperty("hint").GetString());
        await JsonAsync(database, 7, "rollback", "--to", "migrations.0009.sql");
        Assert.Equal(4, (await JsonAsync(database, 0, "rollback", "--to", "none", "--dry-run")).GetProperty("result").GetProperty("toUndo").GetArrayLength());
        Assert.Equal(4, (await JsonAsync(database, 0, "rollback", "--to", "none", "--force")).GetProperty("result").GetProperty("undone").GetArrayLength());
        await JsonAsync(database, 3, "status");
    }

    [Fact]
    public async Task Another_role_prefix_has_an_exit_code_of_its_own()
    {
        await using var database = await server.CreateDatabaseAsync();
        Write(new ScriptSet().Without("roles/roles.sql"));
        Assert.Equal(0, (await RunAsync(database, "migrate", "--from", _folder.FullName)).ExitCode);
        await JsonAsync(database, 9, "migrate");
        await JsonAsync(database, 9, "rollback", "--to", "none");
    }

    [Fact]
    public async Task A_written_script_is_applied_by_psql()
    {
        Assert.SkipWhen(Tools.Find("psql") is null, "psql is not installed");
        await using var database = await server.CreateDatabaseAsync();
        Write(new ScriptSet());
        var file = Path.Combine(_folder.FullName, "upgrade.sql.txt");
        await JsonAsync(database, 0, "migrate", "--script", file);
        Assert.True(await database.ScalarAsync<bool>("select to_regnamespace('credits') is null"));

        var settings = new Npgsql.NpgsqlConnectionStringBuilder(database.ConnectionString);
        string[] psql = ["-X", "-w", "-d", $"postgresql://{settings.Username}:{settings.Password}@{settings.Host}:{settings.Port}/{settings.Database}", "-q", "-v", "ON_ERROR_STOP=1", "-f", file];
        Assert.Equal(0, (await StartAsync("psql", psql)).ExitCode);

        await JsonAsync(database, 0, "status");
        Assert.Equal(3, (await StartAsync("psql", psql)).ExitCode);
    }

    [Fact]
    public async Task Verify_tells_discrepancies_by_its_exit_code()
    {
        await using var database = await server.CreateDatabaseAsync();
        Write(new ScriptSet().With("functions/verify.sql", Healthy));
        await JsonAsync(database, 0, "migrate");
        await JsonAsync(database, 0, "verify");

        await database.ExecuteAsync(Healthy.Replace(" where false", "", StringComparison.Ordinal));
        var user = Guid.NewGuid();
        var all = (await JsonAsync(database, 8, "verify")).GetProperty("result");
        Assert.Equal("missing", all.GetProperty("attachments")[0].GetProperty("problem").GetString());
        var one = (await JsonAsync(database, 8, "verify", "--user", $"{user}")).GetProperty("result");
        Assert.Equal((user, "1.5"), (one.GetProperty("ledger")[0].GetProperty("userId").GetGuid(), one.GetProperty("ledger")[0].GetProperty("expected").GetString()));
        Assert.Contains("balance", (await RunAsync(database, "verify")).Output, StringComparison.Ordinal);

        await database.ExecuteAsync("drop function credits.verify_attachments()");
        Assert.Equal("notMigrated", (await JsonAsync(database, 3, "verify")).GetProperty("result").GetProperty("problem").GetString());
    }

    [Fact]
    public async Task Docs_writes_the_page_and_tells_by_its_exit_code_whether_a_file_is_current()
    {
        await using var database = await server.CreateDatabaseAsync();
        Write(new ScriptSet().With("functions/verify.sql", Healthy + "comment on function credits.verify_attachments() is 'Internal.';"));
        await JsonAsync(database, 3, "docs");
        await JsonAsync(database, 0, "migrate");

        var file = Path.Combine(_folder.FullName, "sql-api.md");
        await JsonAsync(database, 2, "docs", "--check");
        Assert.False((await JsonAsync(database, 8, "docs", "--check", "--output", file)).GetProperty("result").GetProperty("isCurrent").GetBoolean());
        Assert.False(File.Exists(file));
        await JsonAsync(database, 0, "docs", "--output", file);
        await JsonAsync(database, 0, "docs", "--check", "--output", file);
        var written = await File.ReadAllTextAsync(file, Cancellation);
        Assert.Contains("### credits.items", written, StringComparison.Ordinal);
        Assert.Equal(written, (await RunAsync(database, "docs")).Output);
        Assert.Equal(written, (await JsonAsync(database, 0, "docs")).GetProperty("result").GetProperty("text").GetString());

        await database.ExecuteAsync("comment on table credits.items is 'What there is.'");
        await JsonAsync(database, 8, "docs", "--check", "--output", file);
    }

    [Fact]
    public async Task Text_for_people_is_plain_when_redirected()
    {
        await using var database = await server.CreateDatabaseAsync();
        Write(new ScriptSet().With("triggers/note.sql", "do $$ begin raise notice 'attach [bots]'; end $$;"));
        var migrate = await RunAsync(database, "migrate", "--from", _folder.FullName, "--role-prefix", database.RolePrefix);
        var status = await RunAsync(database, "status", "--from", _folder.FullName, "--role-prefix", database.RolePrefix);

        Assert.Contains("triggers.note.sql: NOTICE: attach [bots]", migrate.Output, StringComparison.Ordinal);
        Assert.Contains("Up to date: 4 run, 5 re-applied.", migrate.Output, StringComparison.Ordinal);
        Assert.Matches("migrations\\.0001_schema\\.sql +applied +20", status.Output);
        Assert.DoesNotContain('\u001b', migrate.Output + status.Output);
    }

    [Theory]
    [InlineData("migrate", "--connection", "Host=127.0.0.1;Password=se;cret=1")]
    [InlineData("migrate", "--connection", "Host=127.0.0.1;Port=1;Password=se;Timeout=1;Username=u", "--role-prefix", "Bad")]
    [InlineData("migrate", "--unknown")]
    [InlineData("rollback")]
    [InlineData("status", "--from", "/no/such/folder", "--connection", "Host=127.0.0.1")]
    [InlineData("status")]
    [InlineData("status", "--connection", "Database=x")]
    public async Task Wrong_usage_exits_with_two_and_tells_no_password(params string[] arguments)
    {
        var result = await StartAsync("dotnet", [HostPath, .. arguments]);
        Assert.Equal(2, result.ExitCode);
        Assert.DoesNotContain("cret", result.Output + result.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_server_that_cannot_be_reached_exits_with_one()
    {
        var result = await StartAsync("dotnet", [HostPath, "status", "--json", "--connection", "Host=127.0.0.1;Port=1;Username=u;Password=secret;Timeout=2"]);
        Assert.Equal(1, result.ExitCode);
        Assert.Equal(1, JsonDocument.Parse(result.Output).RootElement.GetProperty("exitCode").GetInt32());
        Assert.DoesNotContain("secret", result.Output + result.Error, StringComparison.Ordinal);
    }

    private static string HostPath => Path.Combine(AppContext.BaseDirectory, "CreditDb.Host.dll");

    private void Write(ScriptSet scripts)
    {
        foreach (var old in _folder.GetDirectories())
            old.Delete(true);
        scripts.WriteTo(_folder.FullName);
    }

    private async Task<JsonElement> JsonAsync(EmptyDatabase database, int exitCode, string verb, params string[] arguments)
    {
        string[] common = verb is "verify" or "docs" ? [] : ["--from", _folder.FullName, "--role-prefix", database.RolePrefix];
        var result = await RunAsync(database, [verb, "--json", .. common, .. arguments]);
        Assert.True(exitCode == result.ExitCode, $"{verb} exited with {result.ExitCode}: {result.Output}{result.Error}");
        var document = JsonDocument.Parse(result.Output).RootElement;
        Assert.Equal(verb, document.GetProperty("command").GetString());
        return document;
    }

    private static Task<Result> RunAsync(EmptyDatabase database, params string[] arguments) =>
        StartAsync("dotnet", [HostPath, .. arguments], ("ConnectionStrings__CreditDb", database.ConnectionString));

    private static async Task<Result> StartAsync(string program, string[] arguments, params (string Name, string Value)[] environment)
    {
        var start = new ProcessStartInfo(program, arguments) { RedirectStandardOutput = true, RedirectStandardError = true };
        start.Environment.Remove("ConnectionStrings__CreditDb");
        foreach (var (name, value) in environment)
            start.Environment[name] = value;
        using var process = Process.Start(start)!;
        var output = process.StandardOutput.ReadToEndAsync(Cancellation);
        var error = process.StandardError.ReadToEndAsync(Cancellation);
        await process.WaitForExitAsync(Cancellation);
        return new Result(process.ExitCode, await output, await error);
    }

    private sealed record Result(int ExitCode, string Output, string Error);
}

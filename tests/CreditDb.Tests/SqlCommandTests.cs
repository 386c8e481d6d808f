using CreditDb.Host.PrivatePostgres;
using CreditDb.Host.Sql;
using CreditDb.Migrations;

namespace CreditDb.Tests;

public sealed class SqlCommandTests(SqlCommandTests.Server server) : IClassFixture<SqlCommandTests.Server>
{
    [Fact]
    public async Task Prints_rows_as_psql_does()
    {
        var (exitCode, output, error) = await RunAsync("-c", """
            select * from (values (1, null::text, '{"a": 1}'::jsonb), (22, 'two', '[]')) as t (id, name, data);
            """);

        Assert.Equal((0, ""), (exitCode, error));
        Assert.Equal(
            """
             id | name |   data   
            ----+------+----------
              1 |      | {"a": 1}
             22 | two  | []
            (2 rows)

            """, output);
    }

    [Fact]
    public async Task Marks_values_of_several_lines()
    {
        var (_, output, _) = await RunAsync("-c", "select e'a\\nbc' as text, 1 as n");

        Assert.Equal(
            """
             text | n 
            ------+---
             a   +| 1
             bc   |
            (1 row)

            """, output);
    }

    [Fact]
    public async Task Shows_any_type_in_the_servers_own_text()
    {
        var (exitCode, output, _) = await RunAsync(
            "-c", "select row(1, array['x y'], int4range(1, 5)) as r, interval '1 month 2 days' as i, 'NaN'::numeric as n, 12345678901234567890123456789012345.5 as big");

        Assert.Equal(0, exitCode);
        Assert.Contains("""(1,"{""x y""}","[1,5)") | 1 mon 2 days | NaN | 12345678901234567890123456789012345.5""", output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Prints_command_tags_and_the_rows_of_returning()
    {
        var (exitCode, output, _) = await RunAsync(
            "-c", "create temporary table t (a int); insert into t values (1), (2); begin; update t set a = 3 where a = 1; commit",
            "-c", "delete from t where a = 2 returning a; create or replace temp view v as select 1; create temp table u as select 1");

        Assert.Equal(0, exitCode);
        Assert.Equal(
            """
            CREATE TABLE
            INSERT 0 2
            BEGIN
            UPDATE 1
            COMMIT
             a 
            ---
             2
            (1 row)

            DELETE 1
            CREATE VIEW
            SELECT 1
            """, output);
    }

    [Fact]
    public async Task Prints_rollback_for_the_commit_of_a_failed_transaction()
    {
        var output = new StringWriter();
        var ct = TestContext.Current.CancellationToken;
        await using var session = await SqlSession.OpenAsync(server.ConnectionString, output, TextWriter.Null, ct);

        foreach (var statement in new[] { "begin", "select 1/0", "commit", "begin", "commit" })
            await session.RunStatementAsync(statement, ct);

        Assert.Equal(["BEGIN", "ROLLBACK", "BEGIN", "COMMIT"], output.ToString().Split(Environment.NewLine, StringSplitOptions.RemoveEmptyEntries));
    }

    [Fact]
    public async Task An_error_stops_with_message_detail_hint_and_sqlstate_on_standard_error()
    {
        var (exitCode, output, error) = await RunAsync(
            "-c", "do $$ begin raise notice 'careful'; raise exception 'no; never' using detail = 'why', hint = 'how', errcode = 'CR001'; end $$; select 1");

        Assert.Equal((1, ""), (exitCode, output));
        Assert.Equal(
            """
            NOTICE:  careful
            ERROR:  no; never
            DETAIL:  why
            HINT:  how
            SQLSTATE:  CR001

            """, error);
    }

    [Fact]
    public async Task Runs_standard_input()
    {
        var (exitCode, output, _) = await HostProcess.RunAsync(
            ["sql", "--connection", server.ConnectionString], "select 1 as a;\n-- done; really\nselect 2 as b");

        Assert.Equal(0, exitCode);
        Assert.Equal(" a \n---\n 1\n(1 row)\n\n b \n---\n 2\n(1 row)\n", output);
    }

    [Fact]
    public async Task Runs_a_file_with_a_function_body_in_standard_sql()
    {
        var file = Path.GetTempFileName();
        await File.WriteAllTextAsync(
            file,
            "create function pg_temp.f(x int) returns int language sql begin atomic select 0; select case when x > 1 then 2 else 3 end; end; select pg_temp.f(5) as f;",
            TestContext.Current.CancellationToken);

        var (exitCode, output, error) = await RunAsync("-f", file);
        File.Delete(file);

        Assert.Equal((0, ""), (exitCode, error));
        Assert.StartsWith("CREATE FUNCTION\n f \n---\n 2\n", output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Fails_clearly_when_no_private_server_runs()
    {
        var root = TestFolder.Create();

        var (exitCode, _, error) = await HostProcess.RunAsync(["sql", "-c", "select 1"], environment: new Dictionary<string, string?> { ["CREDITDB_DATA"] = root });
        Directory.Delete(root);

        Assert.Equal(2, exitCode);
        Assert.Contains("no private server runs", error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("select 1; select 2", new[] { "select 1" }, " select 2")]
    [InlineData("select ';', \";\"; x", new[] { "select ';', \";\"" }, " x")]
    [InlineData("select 'it''s;';", new[] { "select 'it''s;'" }, "")]
    [InlineData(@"select e'\';'; select '\';", new[] { @"select e'\';'", @"select '\'" }, "")]
    [InlineData("do $$ a; $$; do $x$ $$; $x$;", new[] { "do $$ a; $$", "do $x$ $$; $x$" }, "")]
    [InlineData("select $1; select a$b$; c", new[] { "select $1", "select a$b$" }, " c")]
    [InlineData("select 1 -- a; b\n; /* c; /* d; */ e; */ f;", new[] { "select 1 -- a; b", "f" }, "")]
    [InlineData("create rule r as on insert to t do (a; b); c", new[] { "create rule r as on insert to t do (a; b)" }, " c")]
    [InlineData("select 'open;", new string[0], "select 'open;")]
    [InlineData("begin; end; x", new[] { "begin", "end" }, " x")]
    public void Splits_at_the_semicolons_that_end_statements(string text, string[] statements, string remainder)
    {
        var split = StatementSplitter.Split(text);

        Assert.Equal(statements, split.Statements.Select(s => s.Text));
        Assert.Equal(remainder, split.Remainder);
    }

    [Theory]
    [InlineData(" -- only\n /* a comment */ ", true)]
    [InlineData("-- a\nselect", false)]
    public void Tells_comments_from_statements(string text, bool blank) => Assert.Equal(blank, StatementSplitter.IsBlank(text));

    private Task<(int ExitCode, string Output, string Error)> RunAsync(params string[] arguments) =>
        HostProcess.RunAsync(["sql", "--connection", server.ConnectionString, .. arguments]);

    public sealed class Server : IAsyncLifetime
    {
        private PrivateServer? _server;

        public string ConnectionString => _server!.ConnectionString;

        public async ValueTask InitializeAsync() => _server = await PrivateServer.StartAsync(PrivateServerOptions.Throwaway());

        public ValueTask DisposeAsync() => _server!.DisposeAsync();
    }
}

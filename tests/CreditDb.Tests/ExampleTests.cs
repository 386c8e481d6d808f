using System.Text;
using CreditDb.Host.Sql;
using CreditDb.Migrations;
using Npgsql;

namespace CreditDb.Tests;

/// <summary>What docs/examples shows is what happens.</summary>
public sealed class ExampleTests(TestServer server)
{
    private static readonly string Folder = Path.Combine(Pages.Repository, "docs/examples");

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    public static TheoryData<string> Names => [.. Files("*.sql")];

    [Theory]
    [MemberData(nameof(Names))]
    public async Task An_example_prints_what_is_pinned(string name)
    {
        var script = await File.ReadAllTextAsync(Path.Combine(Folder, name + ".sql"), Cancellation);
        var connectionString = await server.CloneTemplateAsync();
        try
        {
            await Pages.IsAsync($"docs/examples/{name}.out", await RunAsync(script, connectionString));
            await using var source = NpgsqlDataSource.Create(new NpgsqlConnectionStringBuilder(connectionString) { Pooling = false }.ConnectionString);
            await using var connection = await source.OpenConnectionAsync(Cancellation);
            Assert.Empty(await connection.Column<string>("select problem from credits.verify_ledger()"));
        }
        finally
        {
            await server.DropAsync(connectionString);
        }
    }

    [Fact]
    public async Task Every_example_has_its_output_and_is_listed()
    {
        Assert.NotEmpty(Files("*.sql"));
        Assert.Equal(Files("*.sql"), Files("*.out"));
        var page = await File.ReadAllTextAsync(Path.Combine(Folder, "README.md"), Cancellation);
        Assert.All(Files("*.sql"), name => Assert.Contains($"[{name}]({name}.out)", page, StringComparison.Ordinal));
    }

    // Each statement, with the comments before it, and what it prints. An error does not end the story.
    private static async Task<string> RunAsync(string script, string connectionString)
    {
        var output = new StringWriter { NewLine = "\n" };
        await using (var sql = await SqlSession.OpenAsync(connectionString, output, output, Cancellation))
        {
            var end = 0;
            foreach (var statement in StatementSplitter.SplitAll(script))
            {
                var start = end;
                end = script.IndexOf(';', statement.Start + statement.Text.Length) + 1;
                var source = script[start..end].Trim('\n');
                if (source.StartsWith("--", StringComparison.Ordinal) && start > 0)
                    await output.WriteLineAsync();
                await output.WriteLineAsync(source);
                await sql.RunStatementAsync(statement.Text, Cancellation);
            }
        }

        // At most one empty line in a row, and no spaces at the ends of lines.
        var lines = new StringBuilder();
        var last = "";
        foreach (var line in output.ToString().Split('\n').Select(line => line.TrimEnd()).Where(line => line.Length + last.Length > 0))
        {
            lines.Append(line).Append('\n');
            last = line;
        }

        return lines.ToString().TrimEnd('\n') + "\n";
    }

    private static List<string> Files(string pattern) =>
        [.. Directory.GetFiles(Folder, pattern).Select(file => Path.GetFileNameWithoutExtension(file)!).Order(StringComparer.Ordinal)];
}

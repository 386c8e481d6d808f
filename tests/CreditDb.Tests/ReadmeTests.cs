using CreditDb.Host.Sql;

namespace CreditDb.Tests;

/// <summary>What the README shows is what happens.</summary>
public sealed class ReadmeTests(TestDatabase db) : IClassFixture<TestDatabase>
{
    private const string Prompt = "creditdb=# ";
    private static readonly string Repository = Path.Combine(AppContext.BaseDirectory, "../../../../..");

    [Fact]
    public async Task The_session_prints_what_the_README_shows()
    {
        var readme = await File.ReadAllTextAsync(Path.Combine(Repository, "README.md"), TestContext.Current.CancellationToken);
        var session = readme.Split("```text\n").Select(block => block.Split("```")[0]).Single(block => block.StartsWith(Prompt, StringComparison.Ordinal));
        var output = new StringWriter { NewLine = "\n" };
        await using (var sql = await SqlSession.OpenAsync(db.ConnectionString, output, output, TestContext.Current.CancellationToken))
        {
            foreach (var line in session.Split('\n').Where(line => line.StartsWith(Prompt, StringComparison.Ordinal)))
            {
                await output.WriteLineAsync(line);
                Assert.True(await sql.RunAsync(line[Prompt.Length..], TestContext.Current.CancellationToken), output.ToString());
            }
        }

        Assert.Equal(Lines(session), Lines(output.ToString()));
    }

    [Theory]
    [InlineData("README.md")]
    [InlineData("docs/dba.md")]
    [InlineData("docs/charging-tables.md")]
    [InlineData("docs/errors.md")]
    [InlineData("docs/configuration.md")]
    [InlineData("docs/operations.md")]
    [InlineData("docs/dbup.md")]
    [InlineData("docs/sql-api.md")]
    [InlineData("docs/credit-model.md")]
    [InlineData("docs/examples/README.md")]
    public async Task A_page_links_to_files_that_exist(string page)
    {
        var text = await File.ReadAllTextAsync(Path.Combine(Repository, page), TestContext.Current.CancellationToken);
        var folder = Path.GetDirectoryName(Path.Combine(Repository, page))!;
        foreach (var link in text.Split("](").Skip(1).Select(part => part.Split(')', '#')[0]).Where(link => !link.Contains(':', StringComparison.Ordinal)))
            Assert.True(File.Exists(Path.Combine(folder, link)), $"{page} links to {link}");
    }

    private static IEnumerable<string> Lines(string text) => text.Split('\n').Select(line => line.TrimEnd()).Where(line => line.Length > 0);
}

public sealed class ReadmeStatementsTests(TestDatabase db) : IClassFixture<TestDatabase>
{
    [Fact]
    public async Task The_other_SQL_of_the_README_runs()
    {
        var user = await db.Account(20);
        var readme = await File.ReadAllTextAsync(Path.Combine(AppContext.BaseDirectory, "../../../../../README.md"), TestContext.Current.CancellationToken);
        foreach (var statement in readme.Split("```sql\n").Skip(1).SelectMany(block => block.Split("```")[0].Split('\n', StringSplitOptions.RemoveEmptyEntries)))
            await db.Run(statement.Replace("00000000-0000-0000-0000-0000000000aa", $"{user}", StringComparison.Ordinal));
        Assert.Equal(17, await db.Balance(user));
    }
}

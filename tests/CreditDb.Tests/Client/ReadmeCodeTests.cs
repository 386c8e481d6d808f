using System.Runtime.CompilerServices;
using Microsoft.Extensions.DependencyInjection;

namespace CreditDb.Tests.Client;

/// <summary>The C# of the README is this code.</summary>
public sealed class ReadmeCodeTests(TestDatabase db) : IClassFixture<TestDatabase>
{
    private static readonly string Repository = Path.Combine(AppContext.BaseDirectory, "../../../../..");

    [Fact]
    public async Task The_code_of_the_README_runs()
    {
        var ct = TestContext.Current.CancellationToken;
        var (userId, services, connectionString, model, page) = (await db.Account(100), new ServiceCollection(), db.ConnectionString, new Model(), new List<string>());

        // README begins.
        services.AddCreditDb(connectionString);
        await using var provider = services.BuildServiceProvider();
        var credits = provider.GetRequiredService<CreditClient>();

        // Once per request, whatever happens to the connection; throws InsufficientCreditsException and the like.
        var charge = await credits.DeductAsync(userId, "prompt_generation", idempotencyKey: "request 42", ct: ct);

        // Holds three units while the model writes, and charges what it wrote, also when the reader leaves half-way.
        await foreach (var word in credits.WithReservationAsync(userId, "script_generation", 3, model.WriteAsync, _ => 0.01m, ct: ct))
            page.Add(word);
        // README ends.

        Assert.Equal((2m, 4), (charge.CreditsDeducted, page.Count));
        Assert.Equal(97.96m, await db.Balance(userId));
        var lines = (await File.ReadAllLinesAsync(Path.Combine(Repository, "tests/CreditDb.Tests/Client/ReadmeCodeTests.cs"), ct)).SkipWhile(l => !l.EndsWith("README begins.", StringComparison.Ordinal)).Skip(1)
            .TakeWhile(l => !l.EndsWith("README ends.", StringComparison.Ordinal)).Select(l => l.Length == 0 ? l : l[8..]);
        Assert.Contains($"```csharp\n{string.Join('\n', lines)}\n```", await File.ReadAllTextAsync(Path.Combine(Repository, "README.md"), ct), StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_client_has_a_method_for_each_function_that_applications_and_admins_call()
    {
        var sources = string.Concat(Directory.GetFiles(Path.Combine(Repository, "src/CreditDb/Client"), "*.cs").Select(File.ReadAllText));
        var functions = await db.Column<string>(
            """
            select p.proname
            from pg_proc p
            where p.pronamespace = 'credits'::regnamespace and has_function_privilege('creditdb_admin', p.oid, 'execute') and p.prorettype <> 'trigger'::regtype
              and obj_description(p.oid) !~ '^Internal\.' and p.proname !~ '^(attach|detach|verify_attachments|clock_now)'
            order by 1
            """);
        Assert.True(functions.Count > 40);
        Assert.Equal([], functions.Except(Sql.AccessTests.Hosting).Where(f => !sources.Contains($"credits.{f}(", StringComparison.Ordinal)).ToList());
    }

    private sealed class Model
    {
        private readonly string _story = "once upon a time";

        public async IAsyncEnumerable<string> WriteAsync([EnumeratorCancellation] CancellationToken ct)
        {
            foreach (var word in _story.Split(' '))
            {
                await Task.Delay(1, ct);
                yield return word;
            }
        }
    }
}

using CreditDb.Tests.Api;

namespace CreditDb.Tests.Operations;

public sealed class HealthTests(ApiHost host) : IClassFixture<ApiHost>
{
    [Fact]
    public async Task Probes_are_open_to_all_and_not_limited()
    {
        await using var slow = host.Configured([("Access:AnonymousRequestsPerSecond", "1")]);
        var probe = slow.CreateClient();
        for (var i = 0; i < 50; i++)
        {
            Assert.Equal("live", (await probe.Get("/health/live").JsonAsync()).Text("status"));
            Assert.Equal("ready", (await probe.Get("/health/ready").JsonAsync()).Text("status"));
        }
    }

    [Fact]
    public async Task A_host_is_not_ready_over_a_database_of_another_release_and_says_what_is_missing()
    {
        await using (var newer = host.Configured([]))
        {
            var probe = newer.CreateClient();
            await host.Database.Run("insert into credits.schemaversions (scriptname, applied) values ('migrations.9999_later.sql', now())");
            await probe.Get("/health/ready").JsonAsync();
            await host.Database.Run("delete from credits.schemaversions where scriptname = 'migrations.9999_later.sql'");
        }

        await using var older = host.Configured([("Database:Migrate", "false")]);
        var client = older.CreateClient();
        await host.Database.Run("delete from credits.applied_objects where name = 'functions.charge.sql'");
        var problem = await client.Get("/health/ready").ProblemAsync(503, "migrations_pending");
        Assert.Contains("functions.charge.sql", problem.Text("detail"), StringComparison.Ordinal);
        await client.Get("/health/live").JsonAsync();

        // Another host migrates by starting: within seconds this one is ready again.
        await using var other = host.Configured([]);
        await other.CreateClient().Get("/health/live").JsonAsync();
        await Eventually.TrueAsync(async () => (await client.Get("/health/ready")).IsSuccessStatusCode, "The host stayed unready.");
    }
}

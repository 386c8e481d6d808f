using System.Globalization;
using System.Text.RegularExpressions;
using Npgsql;

namespace CreditDb.Tests.Sql;

public sealed class DumpAndRestoreTests(TestServer server, TestDatabase db) : IClassFixture<TestDatabase>
{
    [Fact]
    public async Task A_full_dump_restores_and_charges_nothing_twice()
    {
        var (dump, psql) = await ToolsAsync();
        var (user, before) = await FillAsync();
        var file = Path.GetTempFileName();
        var copy = await server.CreateEmptyAsync();
        try
        {
            await Tools.RunAsync(dump, "-d", Url(db.ConnectionString), "-f", file);
            await Tools.RunAsync(psql, "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", Url(copy), "-f", file);
            await CheckAsync(copy, user, before);
        }
        finally
        {
            File.Delete(file);
            await server.DropAsync(copy);
        }
    }

    [Fact]
    public async Task A_data_only_restore_fires_the_triggers_and_charges_nothing_twice()
    {
        var (dump, psql) = await ToolsAsync();
        var (user, before) = await FillAsync();
        var (schema, data) = (Path.GetTempFileName(), Path.GetTempFileName());
        var copy = await server.CreateEmptyAsync();
        try
        {
            await Tools.RunAsync(dump, "--schema-only", "-d", Url(db.ConnectionString), "-f", schema);
            await Tools.RunAsync(dump, "--data-only", "-d", Url(db.ConnectionString), "-f", data);
            await Tools.RunAsync(psql, "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", Url(copy), "-f", schema, "-f", data);
            await CheckAsync(copy, user, before);
        }
        finally
        {
            File.Delete(schema);
            File.Delete(data);
            await server.DropAsync(copy);
        }
    }

    private async Task<(Guid User, string Snapshot)> FillAsync()
    {
        var user = await db.Account(20);
        await db.Run("select credits.set_cost('create_agent', 6)");
        await db.Run("select credits.set_cost('create_agent', 5)");
        await db.Run("insert into public.bots (user_id, name) select $1, 'a' from generate_series(1, 3)", user);
        await db.Run("insert into public.calls (user_id, status, duration_seconds) values ($1, 'completed', 90)", user);
        await db.Run("insert into public.bots (user_id, name) values ($1, 'unpaid')", user);
        return (user, await db.Snapshot(user) + await PricesAsync(db.Source));
    }

    private static async Task CheckAsync(string connectionString, Guid user, string before)
    {
        await using var source = NpgsqlDataSource.Create(connectionString);
        await using var connection = await source.OpenConnectionAsync();
        Assert.Equal(before, await TestDatabase.Snapshot(connection, user) + await PricesAsync(source));
        Assert.Empty(await connection.Column<string>("select problem from credits.verify_ledger()"));
        Assert.Empty(await connection.Column<string>("select problem from credits.verify_attachments()"));
        await connection.Run("select credits.add_purchased_credits($1, 7)", user);
        await connection.Run("insert into public.email_templates (user_id, name) values ($1, 't')", user);
        Assert.Equal(9, (await connection.Json("select credits.get_credit_balance($1)", user)).Number("total"));
    }

    private static async Task<string> PricesAsync(NpgsqlDataSource source)
    {
        await using var connection = await source.OpenConnectionAsync();
        return await connection.Value<string>("select (select string_agg(c::text, E'\\n' order by action_type) from credits.credit_costs c) || (select string_agg(c::text, E'\\n' order by action_type, change_no) from credits.credit_cost_changes c)");
    }

    private static string Url(string connectionString)
    {
        var c = new NpgsqlConnectionStringBuilder(connectionString);
        return $"postgresql://{c.Username}:{c.Password}@{c.Host}:{c.Port}/{c.Database}";
    }

    private async Task<(string Dump, string Psql)> ToolsAsync()
    {
        var (dump, psql) = (Tools.Find("pg_dump", server.BinFolder), Tools.Find("psql", server.BinFolder));
        Assert.SkipWhen(dump is null || psql is null, "pg_dump and psql are not installed");
        var version = int.Parse(Regex.Match(await Tools.RunAsync(dump!, "--version"), @"\d+").Value, CultureInfo.InvariantCulture);
        var served = await db.Value<int>("select current_setting('server_version_num')::int / 10000");
        Assert.SkipWhen(version < served, $"pg_dump {version} cannot dump PostgreSQL {served}");
        return (dump!, psql!);
    }
}

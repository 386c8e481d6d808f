using CreditDb.Host.Reference;
using Npgsql;

namespace CreditDb.Tests;

public sealed class SqlReferenceTests(TestDatabase db) : IClassFixture<TestDatabase>
{
    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    public async Task The_page_of_the_SQL_API_is_current() =>
        await Pages.IsAsync("docs/sql-api.md", await SqlReference.RenderAsync(db.Source, Cancellation));

    [Fact]
    public async Task The_page_has_every_function_that_is_not_internal_and_every_table_and_view()
    {
        var page = (await SqlReference.RenderAsync(db.Source, Cancellation)).Split('\n');
        Assert.Equal(
            await db.Column<string>(
                """
                select 'credits.' || proname || '(' from pg_proc
                where pronamespace = 'credits'::regnamespace and obj_description(oid, 'pg_proc') not like 'Internal.%'
                  and (prorettype = 'trigger'::regtype or exists (select from aclexplode(proacl) x where x.grantee <> proowner))
                order by proname collate "C"
                """),
            page.Where(line => line.StartsWith("credits.", StringComparison.Ordinal)).Select(line => line[..(line.IndexOf('(', StringComparison.Ordinal) + 1)]).Order(StringComparer.Ordinal));
        Assert.Equal(
            await db.Column<string>(
                """
                select '### credits.' || relname from pg_class
                where relnamespace = 'credits'::regnamespace and relkind in ('r', 'p', 'v') and relname not in ('schemaversions', 'applied_objects')
                order by relname collate "C"
                """),
            page.Where(line => line.StartsWith("### credits.", StringComparison.Ordinal)).Order(StringComparer.Ordinal));
    }

    [Fact]
    public async Task What_a_session_or_another_DBA_set_does_not_change_the_page()
    {
        var page = await SqlReference.RenderAsync(db.Source, Cancellation);
        await using var other = NpgsqlDataSource.Create(
            new NpgsqlConnectionStringBuilder(db.ConnectionString) { SearchPath = "credits, public", Options = "-c IntervalStyle=iso_8601 -c DateStyle=German" }.ConnectionString);
        Assert.Equal(page, await SqlReference.RenderAsync(other, Cancellation));
    }
}

/// <summary>Changes the catalog of its database.</summary>
public sealed class SqlReferenceChangeTests(TestDatabase db) : IClassFixture<TestDatabase>
{
    [Fact]
    public async Task A_new_function_a_comment_and_a_grant_change_the_page_and_an_internal_function_does_not()
    {
        async Task<string> Page() => await SqlReference.RenderAsync(db.Source, TestContext.Current.CancellationToken);
        var page = await Page();
        Assert.DoesNotContain("### fail\n", page, StringComparison.Ordinal);

        await db.Run(
            """
            create function credits.get_anything(p_name text default 'it''s', p_at timestamptz[] default null) returns table (a int)
            language plpgsql as $$ begin end $$
            """);
        await db.Run("comment on function credits.get_anything(text, timestamptz[]) is 'Internal. Nothing.'");
        await db.Run("grant execute on function credits.get_anything(text, timestamptz[]) to creditdb_reader");
        await db.Run("revoke execute on function credits.get_anything(text, timestamptz[]) from public");
        Assert.Equal(page, await Page());

        await db.Run("comment on function credits.get_anything(text, timestamptz[]) is 'Less than <b> and more than *a*.'");
        var changed = await Page();
        Assert.Contains(
            """
            ### get_anything

            ```sql
            credits.get_anything(
              p_name text default 'it''s',
              p_at timestamptz[] default null
            ) returns table (a integer)
            ```

            Less than \<b> and more than \*a\*.

            Called by: reader.

            """.ReplaceLineEndings("\n"), changed, StringComparison.Ordinal);

        await db.Run("revoke execute on function credits.get_anything(text, timestamptz[]) from creditdb_reader");
        Assert.Equal(page, await Page());
    }
}

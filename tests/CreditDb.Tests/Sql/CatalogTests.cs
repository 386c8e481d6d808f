using System.Text.RegularExpressions;

namespace CreditDb.Tests.Sql;

/// <summary>The conventions that a reader of one file cannot see kept.</summary>
public sealed partial class CatalogTests(TestDatabase db) : IClassFixture<TestDatabase>
{
    private static readonly string Db = Path.Combine(AppContext.BaseDirectory, "../../../../../db");

    // What only the engine's own functions can call runs under the path that they pinned: pinning it again costs every call some microseconds.
    [Fact]
    public async Task Every_function_that_anybody_can_call_pins_its_search_path() => await None(
        """
        select p.oid::regprocedure::text
        from pg_proc p
        where p.pronamespace = 'credits'::regnamespace
          and (p.prosecdef or p.prorettype = 'trigger'::regtype or exists (select from aclexplode(p.proacl) x where x.grantee <> p.proowner))
          and ('search_path=pg_catalog, pg_temp' = any (p.proconfig)) is not true
          and p.proname not in ('clock_now', 'amount_of', 'key_hash', 'allocations') -- in SQL, every name in it qualified, so that the planner can put it in place
        """);

    [Fact]
    public async Task Every_object_belongs_to_the_owner_role_that_cannot_log_in() => await None(
        """
        select oid::regprocedure::text from pg_proc where pronamespace = 'credits'::regnamespace and proowner <> 'creditdb_owner'::regrole
        union all
        select oid::regclass::text from pg_class where relnamespace = 'credits'::regnamespace and relkind in ('r', 'v', 'c') and relowner <> 'creditdb_owner'::regrole
        union all
        select rolname from pg_roles where rolname like 'creditdb\_%' and rolcanlogin and rolname in ('creditdb_owner', 'creditdb_app', 'creditdb_admin', 'creditdb_reader', 'creditdb_user')
        """);

    [Fact]
    public async Task Public_may_do_nothing() => await None(
        """
        select p.oid::regprocedure::text from pg_proc p cross join aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) x
        where p.pronamespace = 'credits'::regnamespace and x.grantee = 0
        union all
        select c.oid::regclass::text from pg_class c cross join aclexplode(c.relacl) x where c.relnamespace = 'credits'::regnamespace and x.grantee = 0
        union all
        select n.nspname from pg_namespace n cross join aclexplode(n.nspacl) x where n.nspname = 'credits' and x.grantee = 0
        """);

    [Fact]
    public async Task Nobody_but_the_owner_writes_a_table() => await None(
        """
        select c.oid::regclass || ' ' || x.privilege_type from pg_class c cross join aclexplode(c.relacl) x
        where c.relnamespace = 'credits'::regnamespace and x.grantee <> c.relowner and x.privilege_type <> 'SELECT'
        """);

    [Fact]
    public async Task Every_function_table_view_and_type_has_a_comment() => await None(
        """
        select oid::regprocedure::text from pg_proc where pronamespace = 'credits'::regnamespace and obj_description(oid, 'pg_proc') is null
        union all
        select oid::regclass::text from pg_class
        where relnamespace = 'credits'::regnamespace and relkind in ('r', 'v') and obj_description(oid, 'pg_class') is null
          and relname not in ('schemaversions', 'applied_objects')
        union all
        select typname::text from pg_type t join pg_class c on c.oid = t.typrelid
        where t.typnamespace = 'credits'::regnamespace and c.relkind = 'c' and obj_description(t.oid, 'pg_type') is null
        """);

    [Fact]
    public async Task Every_constraint_is_named_after_its_table() => await None(
        """
        select conname from pg_constraint
        where connamespace = 'credits'::regnamespace and contype not in ('t', 'n') and conrelid::regclass::text not in ('credits.schemaversions', 'credits.applied_objects')
          and not starts_with(conname, (select relname from pg_class where oid = conrelid))
          and conname <> 'credit_costs_pkey'
        """);

    [Fact]
    public async Task Every_key_of_a_users_table_begins_with_the_user() => await None(
        """
        select i.indexrelid::regclass::text
        from pg_index i join pg_class c on c.oid = i.indrelid and c.relnamespace = 'credits'::regnamespace
        join pg_attribute u on u.attrelid = c.oid and u.attname = 'user_id'
        where (i.indisunique or i.indisprimary) and i.indkey[0] <> u.attnum
        """);

    [Fact]
    public async Task Every_users_table_has_row_security() => await None(
        """
        select c.oid::regclass::text from pg_class c join pg_attribute u on u.attrelid = c.oid and u.attname = 'user_id'
        where c.relnamespace = 'credits'::regnamespace and c.relkind = 'r'
          and (not c.relrowsecurity or (select count(*) from pg_policy p where p.polrelid = c.oid) <> 2)
        """);

    [Fact]
    public async Task No_sequences_serials_or_triggers_that_fire_always() => await None(
        """
        select oid::regclass::text from pg_class where relnamespace = 'credits'::regnamespace and relkind = 'S' and relname not like 'schemaversions%'
        union all
        select tgname from pg_trigger where tgenabled = 'A'
        """);

    [Fact]
    public async Task Files_and_objects_match_one_to_one()
    {
        Assert.Equal(Names("functions"), await db.Column<string>("select proname::text from pg_proc where pronamespace = 'credits'::regnamespace order by proname collate \"C\""));
        Assert.Equal(Names("views"), await db.Column<string>("select relname::text from pg_class where relnamespace = 'credits'::regnamespace and relkind = 'v' order by relname collate \"C\""));
    }

    [Fact]
    public void Every_numbered_script_has_a_down_script() => Assert.Equal(
        new[] { "app", "migrations", "seed" }.SelectMany(folder => Names(folder).Select(name => $"{folder}.{name}")),
        Names("rollback"));

    [Fact]
    public void Scripts_survive_the_real_DbUp()
    {
        foreach (var file in Directory.GetFiles(Db, "*.sql", SearchOption.AllDirectories))
        {
            var text = File.ReadAllText(file);
            Assert.All(Variable().Matches(text), match => Assert.Equal("$role_prefix$", match.Value));
            Assert.DoesNotMatch(@"(?mi)^\s*(begin|commit|rollback)\s*;|begin atomic|from stdin", text);
        }
    }

    [Fact]
    public async Task A_function_of_the_engine_is_a_plpgsql_function_and_reading_ones_are_stable() => await None(
        """
        select p.oid::regprocedure::text from pg_proc p join pg_language l on l.oid = p.prolang
        where p.pronamespace = 'credits'::regnamespace and l.lanname <> 'plpgsql'
          and p.prosrc !~* '^\s*select ((greatest\()?pg_catalog\.|coalesce\()[^;]*$' and p.proname <> 'known_rows' -- what the planner puts in place
        union all
        select oid::regprocedure::text from pg_proc
        where pronamespace = 'credits'::regnamespace and proname in ('get_credit_balance', 'can_perform_action', 'due_steps', 'get_usage_stats', 'get_feature_usage', 'usage_tail') and provolatile <> 's'
        """);

    private static IEnumerable<string> Names(string folder) =>
        Directory.GetFiles(Path.Combine(Db, folder), "*.sql").Select(file => Path.GetFileNameWithoutExtension(file)!).Order(StringComparer.Ordinal);

    private async Task None(string sql) => Assert.Empty(await db.Column<string>(sql));

    [GeneratedRegex(@"\$\w+\$")]
    private static partial Regex Variable();
}

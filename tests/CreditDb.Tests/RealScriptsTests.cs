using CreditDb.Migrations;
using Npgsql;

namespace CreditDb.Tests;

/// <summary>The migrator with the scripts of the product, on databases as DBAs have them.</summary>
public sealed class RealScriptsTests(TestServer server)
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_second_run_finds_nothing_to_do_and_a_forced_reapplication_changes_no_definition()
    {
        await using var database = await server.CreateDatabaseAsync();
        await new Migrator(database.DataSource).MigrateAsync(cancellationToken: Cancel);
        var before = await DefinitionsAsync(database);
        var second = await new Migrator(database.DataSource).MigrateAsync(cancellationToken: Cancel);
        Assert.Empty(second.Applied.Concat(second.Reapplied));
        await database.ExecuteAsync("delete from credits.applied_objects");
        Assert.NotEmpty((await new Migrator(database.DataSource).MigrateAsync(cancellationToken: Cancel)).Reapplied);
        Assert.Equal(before, await DefinitionsAsync(database));
    }

    [Fact]
    public async Task A_price_that_a_DBA_changed_or_deleted_stays_so()
    {
        await using var database = await server.CreateDatabaseAsync();
        await new Migrator(database.DataSource).MigrateAsync(cancellationToken: Cancel);
        await database.ExecuteAsync("update credits.credit_costs set cost_per_unit = 7 where action_type = 'create_agent'");
        await database.ExecuteAsync("delete from credits.credit_costs where action_type = 'brag_doc'");
        await database.ExecuteAsync("delete from credits.applied_objects");
        await new Migrator(database.DataSource).MigrateAsync(cancellationToken: Cancel);
        Assert.Equal("7 0", await database.ScalarAsync<string>(
            "select cost_per_unit || ' ' || (select count(*) from credits.credit_costs where action_type = 'brag_doc') from credits.credit_costs where action_type = 'create_agent'"));
    }

    [Fact]
    public async Task Rolls_back_to_nothing_and_comes_again_the_same()
    {
        await using var database = await server.CreateDatabaseAsync();
        await new Migrator(database.DataSource).MigrateAsync(cancellationToken: Cancel);
        var before = await DefinitionsAsync(database);
        await new Migrator(database.DataSource).RollbackAsync(null, cancellationToken: Cancel);
        Assert.True(await database.ScalarAsync<bool>("select to_regnamespace('credits') is null and to_regclass('public.bots') is null"));
        await new Migrator(database.DataSource).MigrateAsync(cancellationToken: Cancel);
        Assert.Equal(before, await DefinitionsAsync(database));
    }

    [Fact]
    public async Task A_rollback_that_would_lose_accounts_is_refused_unless_forced()
    {
        await using var database = await server.CreateDatabaseAsync();
        var migrator = new Migrator(database.DataSource);
        await migrator.MigrateAsync(cancellationToken: Cancel);
        await database.ExecuteAsync("select credits.open_account(gen_random_uuid())");
        var refusal = await Assert.ThrowsAsync<MigrationException>(() => migrator.RollbackAsync("migrations.0001_schema.sql", cancellationToken: Cancel));
        Assert.Equal(MigrationProblem.RollbackRefused, refusal.Problem);
        Assert.Equal(1, await database.ScalarAsync<long>("select count(*) from credits.accounts"));
        await migrator.RollbackAsync("migrations.0001_schema.sql", force: true, cancellationToken: Cancel);
        Assert.True(await database.ScalarAsync<bool>("select to_regclass('credits.accounts') is null"));
        await migrator.MigrateAsync(cancellationToken: Cancel);
        await database.ExecuteAsync("select credits.open_account(gen_random_uuid())");
    }

    [Fact]
    public async Task Tables_that_were_there_before_are_left_alone_and_the_call_to_make_is_said()
    {
        await using var database = await server.CreateDatabaseAsync();
        await database.ExecuteAsync("create table public.bots (id bigint generated always as identity primary key, user_id uuid not null, color text)");
        await database.ExecuteAsync("create table public.calls (id uuid primary key default gen_random_uuid(), user_id uuid not null, status text, duration_seconds int)");
        var result = await new Migrator(database.DataSource).MigrateAsync(cancellationToken: Cancel);
        Assert.Equal(0, await database.ScalarAsync<long>("select count(*) from pg_trigger where tgrelid in ('public.bots'::regclass, 'public.calls'::regclass)"));
        var calls = result.Notices.Where(n => n.Message.Contains("attach_charge", StringComparison.Ordinal)).ToList();
        Assert.Equal(2, calls.Count);

        // What the notices say to run works as it stands.
        foreach (var notice in calls)
            await database.ExecuteAsync(notice.Message[notice.Message.IndexOf("select ", StringComparison.Ordinal)..]);
        var user = Guid.NewGuid();
        await database.ExecuteAsync($"select credits.open_account('{user}')");
        await database.ExecuteAsync($"insert into public.bots (user_id) values ('{user}')");
        await database.ExecuteAsync($"insert into public.calls (user_id, status, duration_seconds) values ('{user}', 'completed', 90)");
        Assert.Equal("93 2", await database.ScalarAsync<string>("select (credits.get_credit_balance(user_id) ->> 'total') || ' ' || total_minutes_used from credits.accounts"));
        await database.ExecuteAsync("delete from credits.applied_objects");
        await new Migrator(database.DataSource).MigrateAsync(cancellationToken: Cancel);
        Assert.Equal(4, await database.ScalarAsync<long>("select count(*) from pg_trigger where tgrelid in ('public.bots'::regclass, 'public.calls'::regclass)"));
    }

    [Fact]
    public async Task A_trigger_that_a_DBA_disabled_stays_disabled_and_a_renamed_or_dropped_table_stops_no_migration()
    {
        await using var database = await server.CreateDatabaseAsync();
        await new Migrator(database.DataSource).MigrateAsync(cancellationToken: Cancel);
        await database.ExecuteAsync("alter table public.bots disable trigger credits_charge_agent_created");
        await database.ExecuteAsync("comment on trigger credits_charge_agent_created on public.bots is 'an older definition'");
        await database.ExecuteAsync("alter table public.bots rename to agents");
        await database.ExecuteAsync("create table public.bots (id uuid primary key, user_id uuid not null)");
        await database.ExecuteAsync("drop table public.email_templates");
        await database.ExecuteAsync("delete from credits.applied_objects");
        await new Migrator(database.DataSource).MigrateAsync(cancellationToken: Cancel);
        Assert.Equal("agents D", await database.ScalarAsync<string>(
            "select string_agg(tgrelid::regclass || ' ' || tgenabled::text, ',') from pg_trigger where tgname = 'credits_charge_agent_created'"));
        Assert.Equal(["disabled", "the table is gone: detach_charge(p_source => 'public.email_templates')"], (await ProblemsAsync(database)).Order(StringComparer.Ordinal));
    }

    [Fact]
    public async Task Without_the_reference_tables_the_engine_is_complete()
    {
        await using var database = await server.CreateDatabaseAsync();
        await new Migrator(database.DataSource, new MigratorOptions { WithoutApp = true }).MigrateAsync(cancellationToken: Cancel);
        Assert.True(await database.ScalarAsync<bool>("select to_regclass('public.bots') is null"));
        await database.ExecuteAsync("select credits.open_account(gen_random_uuid())");
        Assert.Empty(await ProblemsAsync(database));
    }

    [Fact]
    public async Task Migrates_under_another_role_prefix_as_an_owner_who_is_no_superuser_and_charges_for_a_plain_role()
    {
        await using var database = await server.CreateDatabaseAsync();
        var owner = database.RolePrefix + "_dba";
        await database.ExecuteAsync($"create role {owner} login createrole password 'x'; alter database {database.Name} owner to {owner}; alter schema public owner to {owner}");
        await using var source = NpgsqlDataSource.Create(new NpgsqlConnectionStringBuilder(database.ConnectionString) { Username = owner, Password = "x", Pooling = false }.ConnectionString);
        var migrator = new Migrator(source, new MigratorOptions { RolePrefix = database.RolePrefix });
        await migrator.MigrateAsync(cancellationToken: Cancel);
        await database.ExecuteAsync("delete from credits.applied_objects");
        await migrator.MigrateAsync(cancellationToken: Cancel);
        Assert.Equal(0, await database.ScalarAsync<long>(
            $"select count(*) from pg_proc where pronamespace = 'credits'::regnamespace and proowner <> '{database.RolePrefix}_owner'::regrole"));

        var user = Guid.NewGuid();
        await database.ExecuteAsync($"create role {database.RolePrefix}_web; grant insert on public.bots to {database.RolePrefix}_web");
        await database.ExecuteAsync($"select credits.open_account('{user}')");
        await database.ExecuteAsync($"set role {database.RolePrefix}_web; insert into public.bots (user_id, name) values ('{user}', 'a'); reset role");
        Assert.Equal("95", await database.ScalarAsync<string>($"select credits.get_credit_balance('{user}') ->> 'total'"));
        await database.ExecuteAsync($"drop owned by {database.RolePrefix}_web");
        await migrator.RollbackAsync(null, force: true, cancellationToken: Cancel);
        await database.ExecuteAsync($"alter database {database.Name} owner to current_user; reassign owned by {owner} to current_user; drop owned by {owner}");
    }

    [Fact]
    public async Task Says_what_a_DBA_must_do_where_the_migrating_user_may_not_create_roles()
    {
        await using var database = await server.CreateDatabaseAsync();
        var plain = database.RolePrefix + "_plain";
        await database.ExecuteAsync($"create role {plain} login password 'x'; grant create on database {database.Name} to {plain}");
        await using var source = NpgsqlDataSource.Create(new NpgsqlConnectionStringBuilder(database.ConnectionString) { Username = plain, Password = "x", Pooling = false }.ConnectionString);
        var error = await Assert.ThrowsAsync<MigrationException>(() =>
            new Migrator(source, new MigratorOptions { RolePrefix = database.RolePrefix }).MigrateAsync(cancellationToken: Cancel));
        Assert.Equal("UC401", error.SqlState);
        Assert.Contains("CREATEROLE", error.Hint, StringComparison.Ordinal);
        await database.ExecuteAsync($"drop owned by {plain} cascade");
    }

    [Fact]
    public async Task Ten_migrators_at_once_on_one_database_and_two_databases_at_once()
    {
        await using var one = await server.CreateDatabaseAsync();
        await using var two = await server.CreateDatabaseAsync();
        var options = new MigratorOptions { RolePrefix = one.RolePrefix };
        var results = await Task.WhenAll(Enumerable.Range(0, 10).Select(i =>
            new Migrator((i < 8 ? one : two).DataSource, options).MigrateAsync(cancellationToken: Cancel)));
        Assert.Equal(2, results.Sum(r => r.Applied.Count(name => name == "migrations.0005_wallets.sql")));
        Assert.Equal(await DefinitionsAsync(one), await DefinitionsAsync(two));
        await new Migrator(one.DataSource, options).RollbackAsync(null, cancellationToken: Cancel);
        await new Migrator(two.DataSource, options).RollbackAsync(null, cancellationToken: Cancel);
    }

    private static async Task<List<string>> ProblemsAsync(EmptyDatabase database)
    {
        await using var connection = await database.DataSource.OpenConnectionAsync(Cancel);
        return await connection.Column<string>("select problem from credits.verify_attachments()");
    }

    /// <summary>Every definition that scripts make, as PostgreSQL prints it.</summary>
    private static async Task<string> DefinitionsAsync(EmptyDatabase database) => (await database.ScalarAsync<string>(
        """
        select string_agg(d.line, E'\n' order by d.line collate "C")
        from (
          select 'function ' || pg_get_functiondef(p.oid) || array_to_string(p.proacl, ',') || p.proowner::regrole || obj_description(p.oid, 'pg_proc') as line
          from pg_proc p where p.pronamespace = 'credits'::regnamespace
          union all
          select 'column ' || c.oid::regclass || ' ' || a.attnum || ' ' || a.attname || ' ' || format_type(a.atttypid, a.atttypmod) || ' ' || a.attnotnull
            || coalesce(' ' || pg_get_expr(d.adbin, d.adrelid), '')
          from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
          left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
          where c.relnamespace in ('credits'::regnamespace, 'public'::regnamespace) and c.relkind in ('r', 'v')
          union all
          select 'relation ' || c.oid::regclass || ' ' || c.relowner::regrole || coalesce(array_to_string(c.relacl, ','), '') || c.relrowsecurity || coalesce(pg_get_viewdef(c.oid), '')
          from pg_class c where c.relnamespace = 'credits'::regnamespace and c.relkind in ('r', 'v')
          union all
          select 'constraint ' || conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid) from pg_constraint
          where connamespace in ('credits'::regnamespace, 'public'::regnamespace) and contype <> 't'
          union all
          select 'trigger ' || pg_get_triggerdef(oid) || tgenabled::text from pg_trigger where not tgisinternal
          union all
          select 'policy ' || polrelid::regclass || ' ' || polname || ' ' || pg_get_expr(polqual, polrelid) from pg_policy
        ) d
        """))!;
}

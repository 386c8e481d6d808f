using System.Collections.Concurrent;
using System.Diagnostics;
using CreditDb.Migrations;
using Npgsql;

namespace CreditDb.Tests;

public sealed class MigratorTests(TestServer server)
{
    private const string Catalog =
        """
        select string_agg(line, chr(10) order by line)
        from (
          select format('column %s.%s %s %s %s', attrelid::regclass, attname, format_type(atttypid, atttypmod), attnotnull, pg_get_expr(adbin, adrelid)) as line
          from pg_attribute left join pg_attrdef on adrelid = attrelid and adnum = attnum
          where attrelid in (select oid from pg_class where relnamespace in ('credits'::regnamespace, 'public'::regnamespace)) and attnum > 0 and not attisdropped
          union all select format('constraint %s %s', conrelid::regclass, pg_get_constraintdef(oid)) from pg_constraint where connamespace = 'credits'::regnamespace
          union all select pg_get_functiondef(oid) from pg_proc where pronamespace = 'credits'::regnamespace
          union all select format('view %s %s', oid::regclass, pg_get_viewdef(oid)) from pg_class where relkind = 'v' and relnamespace = 'credits'::regnamespace
          union all select pg_get_triggerdef(oid) from pg_trigger where not tgisinternal
          union all select format('schema %s %s', nspname, nspacl) from pg_namespace where nspname = 'credits'
        ) lines
        """;

    // The statements of dbup-postgresql 6, as it sends them.
    private const string DbUpCreatesJournal =
        """
        create schema if not exists credits;
        CREATE TABLE "credits"."schemaversions"
        (
            schemaversionsid serial NOT NULL,
            scriptname character varying(255) NOT NULL,
            applied timestamp without time zone NOT NULL,
            CONSTRAINT "PK_schemaversions_Id" PRIMARY KEY (schemaversionsid)
        )
        """;

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Runs_every_script_in_order_and_journals_those_that_run_once()
    {
        await using var database = await server.CreateDatabaseAsync();
        var result = await Migrator(database, new ScriptSet()).MigrateAsync(cancellationToken: Cancellation);

        Assert.Equal(["migrations.0001_schema.sql", "migrations.0002_note.sql", "app.0001_bots.sql", "seed.0001_items.sql"], result.Applied);
        Assert.Equal(["functions.count_items.sql", "views.items.sql", "roles.roles.sql", "triggers.bots.sql"], result.Reapplied);
        Assert.Equal(result.Applied, (await JournalAsync(database)).Split('\n'));
        Assert.Equal(3, await database.ScalarAsync<long>("select credits.count_items()"));
        Assert.True((await Migrator(database, new ScriptSet()).StatusAsync(Cancellation)).UpToDate);
    }

    [Fact]
    public async Task A_fresh_database_equals_an_upgraded_one()
    {
        const string added = "migrations/0003_price.sql";
        const string price = "alter table credits.items add column price numeric(20,6);";
        const string function = "create or replace function credits.count_items() returns bigint language sql stable as $$ select count(*) from credits.items $$;";
        await using var fresh = await server.CreateDatabaseAsync();
        await using var upgraded = await server.CreateDatabaseAsync();
        await Migrator(fresh, new ScriptSet().With(added, price).With(ScriptSet.CountItems, function), prefix: fresh.RolePrefix)
            .MigrateAsync(cancellationToken: Cancellation);

        await Migrator(upgraded, new ScriptSet(), prefix: fresh.RolePrefix).MigrateAsync(cancellationToken: Cancellation);
        var next = new ScriptSet().With(added, price).With(ScriptSet.CountItems, function);
        var result = await Migrator(upgraded, next, prefix: fresh.RolePrefix).MigrateAsync(cancellationToken: Cancellation);

        Assert.Equal(["migrations.0003_price.sql"], result.Applied);
        Assert.Equal(await fresh.ScalarAsync<string>(Catalog), await upgraded.ScalarAsync<string>(Catalog));
    }

    [Fact]
    public async Task A_second_run_writes_nothing_and_waits_for_nobody()
    {
        await using var database = await server.CreateDatabaseAsync();
        var migrator = Migrator(database, new ScriptSet());
        await migrator.MigrateAsync(cancellationToken: Cancellation);
        const string versions =
            """
            select string_agg(x, ',' order by x) from (
              select 'j' || xmin || ctid::text as x from credits.schemaversions
              union all select 'a' || xmin || ctid::text from credits.applied_objects
              union all select 'p' || xmin || oid from pg_proc where pronamespace = 'credits'::regnamespace
              union all select 'c' || xmin || oid from pg_class where relnamespace = 'credits'::regnamespace) s
            """;
        var before = await database.ScalarAsync<string>(versions);

        await using var other = await database.DataSource.OpenConnectionAsync(Cancellation);
        await using var transaction = await other.BeginTransactionAsync(Cancellation);
        await using var hold = new NpgsqlCommand("select pg_advisory_xact_lock(27991802496250995)", other);
        await hold.ExecuteNonQueryAsync(Cancellation);
        var result = await migrator.MigrateAsync(cancellationToken: Cancellation);

        Assert.Empty(result.Applied);
        Assert.Empty(result.Reapplied);
        Assert.Equal(before, await database.ScalarAsync<string>(versions));
    }

    [Fact]
    public async Task Of_ten_hosts_that_start_at_once_one_works()
    {
        await using var database = await server.CreateDatabaseAsync();
        var scripts = new ScriptSet().With("migrations/0003_slow.sql", "create table credits.runs (id int); insert into credits.runs values (1); select pg_sleep(0.5);");
        var results = await Task.WhenAll(Enumerable.Range(0, 10).Select(_ =>
            Task.Run(() => Migrator(database, scripts, lockTimeout: 200).MigrateAsync(cancellationToken: Cancellation), Cancellation)));

        Assert.Equal(5, results.Sum(r => r.Applied.Count));
        Assert.Equal(4, results.Sum(r => r.Reapplied.Count));
        Assert.Equal(1, await database.ScalarAsync<long>("select count(*) from credits.runs"));
        Assert.Equal(5, await database.ScalarAsync<long>("select count(*) from credits.schemaversions"));
    }

    [Fact]
    public async Task An_edited_once_script_stops_the_run_before_anything()
    {
        await using var database = await server.CreateDatabaseAsync();
        await Migrator(database, new ScriptSet()).MigrateAsync(cancellationToken: Cancellation);
        var edited = new ScriptSet().With(ScriptSet.Note, "select 1;").With("migrations/0003_x.sql", "create table credits.x (id int);");

        var error = await Assert.ThrowsAsync<MigrationException>(() => Migrator(database, edited).MigrateAsync(cancellationToken: Cancellation));

        Assert.Equal(MigrationProblem.ScriptEdited, error.Problem);
        Assert.Equal("migrations.0002_note.sql", error.Script);
        Assert.True(await database.ScalarAsync<bool>("select to_regclass('credits.x') is null"));
        var status = await Migrator(database, edited).StatusAsync(Cancellation);
        Assert.Equal(MigrationProblem.ScriptEdited, status.Problem);
        Assert.Equal(ScriptState.Edited, status.Scripts.Single(s => s.Name == "migrations.0002_note.sql").State);
    }

    [Fact]
    public async Task Line_endings_do_not_change_a_script()
    {
        await using var database = await server.CreateDatabaseAsync();
        await Migrator(database, new ScriptSet()).MigrateAsync(cancellationToken: Cancellation);
        var windows = new DbScripts(new ScriptSet().Build().All.Select(s => new DbScript(s.Path.Replace('/', '\\'), "\uFEFF" + s.Text.Replace("\n", "\r\n"))));

        var status = await new Migrator(database.DataSource, new() { Scripts = windows, RolePrefix = database.RolePrefix }).StatusAsync(Cancellation);

        Assert.True(status.UpToDate);
    }

    [Fact]
    public async Task A_database_with_a_script_that_the_program_does_not_know_is_refused()
    {
        await using var database = await server.CreateDatabaseAsync();
        await Migrator(database, new ScriptSet()).MigrateAsync(cancellationToken: Cancellation);

        var error = await Assert.ThrowsAsync<MigrationException>(
            () => Migrator(database, new ScriptSet().Without(ScriptSet.Note)).MigrateAsync(cancellationToken: Cancellation));

        Assert.Equal(MigrationProblem.DatabaseNewer, error.Problem);
        Assert.Equal("migrations.0002_note.sql", error.Script);
    }

    [Fact]
    public async Task A_database_that_a_later_release_migrated_is_refused()
    {
        await using var database = await server.CreateDatabaseAsync();
        var options = new MigratorOptions { Scripts = new ScriptSet().Build(), RolePrefix = database.RolePrefix };
        await new Migrator(database.DataSource, options with { Release = new Version(9, 0) }).MigrateAsync(cancellationToken: Cancellation);

        var error = await Assert.ThrowsAsync<MigrationException>(() => new Migrator(database.DataSource, options).PlanAsync(Cancellation));

        Assert.Equal(MigrationProblem.DatabaseNewer, error.Problem);
    }

    [Fact]
    public async Task A_failure_in_the_middle_keeps_what_was_committed_and_the_next_run_continues()
    {
        await using var database = await server.CreateDatabaseAsync();
        const string third = "migrations/0003_bad.sql";
        var bad = new ScriptSet().With(third, "create table credits.third (id int);\n\ninsert into credits.third\nvalues ('no number');");

        var error = await Assert.ThrowsAsync<MigrationException>(() => Migrator(database, bad).MigrateAsync(cancellationToken: Cancellation));

        Assert.Equal(MigrationProblem.ScriptFailed, error.Problem);
        Assert.Equal(("migrations.0003_bad.sql", 4, "22P02"), (error.Script, error.Line, error.SqlState));
        Assert.Equal("migrations.0001_schema.sql\nmigrations.0002_note.sql", await JournalAsync(database));
        Assert.True(await database.ScalarAsync<bool>("select to_regclass('credits.third') is null"));

        var result = await Migrator(database, bad.With(third, "create table credits.third (id int);")).MigrateAsync(cancellationToken: Cancellation);
        Assert.Equal(["migrations.0003_bad.sql", "app.0001_bots.sql", "seed.0001_items.sql"], result.Applied);
    }

    [Fact]
    public async Task Semicolons_and_quotes_in_text_and_comments_do_not_mislead_the_line_of_an_error()
    {
        await using var database = await server.CreateDatabaseAsync();
        var scripts = new ScriptSet().With(
            "migrations/0003_text.sql",
            """
            select E'a\';b', 'c''; d', '\' /* ; ' /* " */ */ as "x;'y"; -- ; '
            select $$;'$$, '{"a":1}'::jsonb @> '{}', (array[1, 2])[1:2];

            -- the failing one
            select 1
              / 0;
            select
              missing;
            """);

        var error = await Assert.ThrowsAsync<MigrationException>(() => Migrator(database, scripts).MigrateAsync(cancellationToken: Cancellation));
        Assert.Equal(("22012", 5), (error.SqlState, error.Line));

        error = await Assert.ThrowsAsync<MigrationException>(
            () => Migrator(database, scripts.With("migrations/0003_text.sql", "select 1;\nselect\n  missing;")).MigrateAsync(cancellationToken: Cancellation));
        Assert.Equal(("42703", 3), (error.SqlState, error.Line));
    }

    [Fact]
    public async Task Migrations_alone_are_a_set_too()
    {
        await using var database = await server.CreateDatabaseAsync();
        var migrator = new Migrator(database.DataSource, new() { Scripts = new([new("migrations/0001_x.sql", "create table public.x (id int);")]) });

        Assert.Single((await migrator.PlanAsync(Cancellation)).Transactions);
        await migrator.MigrateAsync(cancellationToken: Cancellation);

        Assert.True((await migrator.StatusAsync(Cancellation)).UpToDate);
    }

    [Fact]
    public async Task A_re_applied_script_that_the_program_no_longer_has_is_forgotten()
    {
        await using var database = await server.CreateDatabaseAsync();
        await Migrator(database, new ScriptSet()).MigrateAsync(cancellationToken: Cancellation);
        var without = Migrator(database, new ScriptSet().Without(ScriptSet.CountItems));

        Assert.False((await without.StatusAsync(Cancellation)).UpToDate);
        Assert.Equal(3, (await without.MigrateAsync(cancellationToken: Cancellation)).Reapplied.Count);
        Assert.True((await without.StatusAsync(Cancellation)).UpToDate);
    }

    [Fact]
    public async Task A_migration_that_stopped_before_the_functions_re_applies_them_next_time()
    {
        await using var database = await server.CreateDatabaseAsync();
        await Migrator(database, new ScriptSet()).MigrateAsync(cancellationToken: Cancellation);
        var next = new ScriptSet().With("migrations/0003_drop.sql", "drop view credits.item_notes;").With(ScriptSet.CountItems, "broken;");
        await Assert.ThrowsAsync<MigrationException>(() => Migrator(database, next).MigrateAsync(cancellationToken: Cancellation));

        var whole = new ScriptSet().With("migrations/0003_drop.sql", "drop view credits.item_notes;");
        var result = await Migrator(database, whole).MigrateAsync(cancellationToken: Cancellation);

        Assert.Contains("views.items.sql", result.Reapplied);
        Assert.False(await database.ScalarAsync<bool>("select to_regclass('credits.item_notes') is null"));
    }

    [Fact]
    public async Task A_change_re_applies_all_and_the_plan_names_it()
    {
        await using var database = await server.CreateDatabaseAsync();
        await Migrator(database, new ScriptSet()).MigrateAsync(cancellationToken: Cancellation);
        var changed = Migrator(database, new ScriptSet().With("views/items.sql", "create or replace view credits.item_notes as select id, note, 1 as one from credits.items;"));

        var plan = await changed.PlanAsync(Cancellation);
        var result = await changed.MigrateAsync(cancellationToken: Cancellation);

        Assert.Equal("views.items.sql", Assert.Single(Assert.Single(plan.Transactions), s => s.State == ScriptState.Changed).Name);
        Assert.Empty(result.Applied);
        Assert.Equal(4, result.Reapplied.Count);
    }

    [Fact]
    public async Task A_script_that_sorts_before_an_applied_one_is_run()
    {
        await using var database = await server.CreateDatabaseAsync();
        await Migrator(database, new ScriptSet()).MigrateAsync(cancellationToken: Cancellation);
        var result = await Migrator(database, new ScriptSet().With("migrations/0001b_branch.sql", "create table credits.branch (id int);"))
            .MigrateAsync(cancellationToken: Cancellation);
        Assert.Equal(["migrations.0001b_branch.sql"], result.Applied);
    }

    [Fact]
    public async Task Databases_of_one_cluster_can_be_migrated_at_once()
    {
        await using var first = await server.CreateDatabaseAsync();
        await using var second = await server.CreateDatabaseAsync();
        await using var third = await server.CreateDatabaseAsync();
        var scripts = new ScriptSet().With(
            "roles/roles.sql",
            """
            do $$
            begin
              if not exists (select from pg_roles where rolname = '$role_prefix$_app') then
                perform pg_sleep(0.3);
                create role $role_prefix$_app nologin;
              end if;
            end
            $$;
            alter role $role_prefix$_app set work_mem = '8MB';
            select pg_sleep(0.1);
            """);

        await Task.WhenAll(new[] { first, second, third }.Select(d =>
            Task.Run(() => Migrator(d, scripts, prefix: first.RolePrefix).MigrateAsync(cancellationToken: Cancellation), Cancellation)));

        Assert.True((await Migrator(third, scripts, prefix: first.RolePrefix).StatusAsync(Cancellation)).UpToDate);
    }

    [Fact]
    public async Task Another_role_prefix_is_refused()
    {
        await using var database = await server.CreateDatabaseAsync();
        await Migrator(database, new ScriptSet()).MigrateAsync(cancellationToken: Cancellation);

        var error = await Assert.ThrowsAsync<MigrationException>(
            () => Migrator(database, new ScriptSet(), prefix: "other").MigrateAsync(cancellationToken: Cancellation));

        Assert.Equal(MigrationProblem.RolePrefixDiffers, error.Problem);
        Assert.Contains(database.RolePrefix, error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("Upper")]
    [InlineData("")]
    [InlineData("a;drop")]
    [InlineData("a\n")]
    public void A_role_prefix_that_is_no_plain_name_is_refused(string prefix) =>
        Assert.Throws<ArgumentException>(() => new MigratorOptions { RolePrefix = prefix });

    [Theory]
    [InlineData("do $body$ begin end $body$;")]
    [InlineData("select '$1-$2';")]
    [InlineData("select 1;\n commit;")]
    [InlineData("/* begin */ Begin; select 1;")]
    public async Task A_script_that_DbUp_could_not_run_or_that_ends_its_transaction_is_refused_before_anything(string sql)
    {
        await using var database = await server.CreateDatabaseAsync();
        var error = await Assert.ThrowsAsync<MigrationException>(
            () => Migrator(database, new ScriptSet().With(ScriptSet.Seed, sql)).MigrateAsync(cancellationToken: Cancellation));

        Assert.Equal((MigrationProblem.InvalidScript, "seed.0001_items.sql"), (error.Problem, error.Script));
        Assert.True(await database.ScalarAsync<bool>("select to_regnamespace('credits') is null"));
    }

    [Fact]
    public async Task A_database_that_DbUp_began_is_continued()
    {
        await using var database = await server.CreateDatabaseAsync();
        await database.ExecuteAsync(DbUpCreatesJournal);
        var scripts = new ScriptSet().Build();
        foreach (var path in new[] { ScriptSet.Schema, ScriptSet.Note })
        {
            var script = scripts.All.Single(s => s.Path == path);
            await database.ExecuteAsync(script.Text);
            await DbUpJournalsAsync(database, script.Name);
        }

        var migrator = Migrator(database, new ScriptSet());
        Assert.Equal(["migrations.0001_schema.sql", "migrations.0002_note.sql"], (await migrator.PlanAsync(Cancellation)).Adopted);
        var result = await migrator.MigrateAsync(cancellationToken: Cancellation);

        Assert.Equal(["app.0001_bots.sql", "seed.0001_items.sql"], result.Applied);
        Assert.Equal(0, await database.ScalarAsync<long>("select count(*) from credits.schemaversions where checksum is null or role_prefix is null"));
    }

    [Fact]
    public async Task A_database_of_ours_is_continued_by_DbUp_and_taken_back()
    {
        await using var database = await server.CreateDatabaseAsync();
        await Migrator(database, new ScriptSet()).MigrateAsync(cancellationToken: Cancellation);
        await database.ExecuteAsync("create table credits.third (id int)");
        await DbUpJournalsAsync(database, "migrations.0003_third.sql");

        var next = new ScriptSet().With("migrations/0003_third.sql", "create table credits.third (id int);");
        Assert.True((await Migrator(database, next).StatusAsync(Cancellation)).UpToDate);
        var result = await Migrator(database, next).MigrateAsync(cancellationToken: Cancellation);

        Assert.Empty(result.Applied);
        Assert.Empty((await Migrator(database, next).PlanAsync(Cancellation)).Adopted);
        var edited = next.With("migrations/0003_third.sql", "select 1;");
        Assert.Equal(MigrationProblem.ScriptEdited, (await Migrator(database, edited).StatusAsync(Cancellation)).Problem);
    }

    [Fact]
    public async Task A_plan_and_a_status_change_nothing()
    {
        await using var database = await server.CreateDatabaseAsync();
        var migrator = Migrator(database, new ScriptSet());
        var plan = await migrator.PlanAsync(Cancellation);
        var status = await migrator.StatusAsync(Cancellation);
        await migrator.ScriptAsync(Cancellation);

        Assert.Equal([1, 1, 6], plan.Transactions.Select(t => t.Count));
        Assert.All(status.Scripts, s => Assert.Equal(ScriptState.Pending, s.State));
        Assert.False(status.UpToDate);
        Assert.True(await database.ScalarAsync<bool>("select to_regnamespace('credits') is null"));
    }

    [Fact]
    public async Task A_script_file_does_what_a_migration_does()
    {
        await using var migrated = await server.CreateDatabaseAsync();
        await using var scripted = await server.CreateDatabaseAsync();
        await Migrator(migrated, new ScriptSet()).MigrateAsync(cancellationToken: Cancellation);
        await scripted.ExecuteAsync(await Migrator(scripted, new ScriptSet(), prefix: migrated.RolePrefix).ScriptAsync(Cancellation));

        Assert.Equal(await migrated.ScalarAsync<string>(Catalog), await scripted.ScalarAsync<string>(Catalog));
        Assert.Equal(await JournalAsync(migrated), await JournalAsync(scripted));
        Assert.True((await Migrator(scripted, new ScriptSet(), prefix: migrated.RolePrefix).StatusAsync(Cancellation)).UpToDate);
        Assert.True((await Migrator(scripted, new ScriptSet(), prefix: migrated.RolePrefix).PlanAsync(Cancellation)).Transactions is []);
    }

    [Fact]
    public async Task A_script_file_refuses_a_database_that_was_migrated_since()
    {
        await using var database = await server.CreateDatabaseAsync();
        var file = await Migrator(database, new ScriptSet()).ScriptAsync(Cancellation);
        await Migrator(database, new ScriptSet()).MigrateAsync(cancellationToken: Cancellation);
        var next = new ScriptSet().With("migrations/0003_x.sql", "create table credits.x (id int);");
        var second = await Migrator(database, next).ScriptAsync(Cancellation);

        Assert.Equal("UC391", (await Assert.ThrowsAsync<PostgresException>(() => database.ExecuteAsync(file))).SqlState);
        await database.ExecuteAsync(second);
        Assert.Equal("UC391", (await Assert.ThrowsAsync<PostgresException>(() => database.ExecuteAsync(second))).SqlState);
        Assert.True((await Migrator(database, next).StatusAsync(Cancellation)).UpToDate);

        var third = await Migrator(database, next.With(ScriptSet.CountItems, "select 3;")).ScriptAsync(Cancellation);
        await Migrator(database, next.With(ScriptSet.CountItems, "select 4;")).MigrateAsync(cancellationToken: Cancellation);
        Assert.Equal("UC391", (await Assert.ThrowsAsync<PostgresException>(() => database.ExecuteAsync(third))).SqlState);
    }

    [Fact]
    public async Task Two_journal_rows_that_DbUp_left_for_a_script_count_as_one()
    {
        await using var database = await server.CreateDatabaseAsync();
        var migrator = Migrator(database, new ScriptSet());
        await migrator.MigrateAsync(cancellationToken: Cancellation);
        await DbUpJournalsAsync(database, "migrations.0002_note.sql");

        Assert.True((await migrator.StatusAsync(Cancellation)).UpToDate);
        await migrator.MigrateAsync(cancellationToken: Cancellation);
        await migrator.RollbackAsync("migrations.0001_schema.sql", cancellationToken: Cancellation);
        Assert.Equal("migrations.0001_schema.sql", await JournalAsync(database));
    }

    [Fact]
    public async Task The_application_never_queues_longer_than_the_lock_timeout()
    {
        await using var database = await server.CreateDatabaseAsync();
        await Migrator(database, new ScriptSet()).MigrateAsync(cancellationToken: Cancellation);
        var next = new ScriptSet().With("migrations/0003_price.sql", "alter table credits.items add column price numeric;");
        var progress = new Recorder();

        await using var reader = await database.DataSource.OpenConnectionAsync(Cancellation);
        var transaction = await reader.BeginTransactionAsync(Cancellation);
        await using var read = new NpgsqlCommand("select pg_backend_pid() from credits.items", reader);
        var holder = await read.ExecuteScalarAsync(Cancellation);

        var migration = Migrator(database, next, lockTimeout: 400).MigrateAsync(progress, Cancellation);
        var longest = TimeSpan.Zero;
        while (!progress.Messages.Any(m => m.Kind == MigrationProgressKind.Retrying && m.Message.Contains("try 3", StringComparison.Ordinal)))
        {
            Assert.False(migration.IsCompleted);
            var watch = Stopwatch.StartNew();
            await database.ScalarAsync<long>("select count(*) from credits.items");
            longest = watch.Elapsed > longest ? watch.Elapsed : longest;
        }

        await transaction.RollbackAsync(Cancellation);
        var result = await migration;

        Assert.Equal(["migrations.0003_price.sql"], result.Applied);
        Assert.InRange(longest.TotalMilliseconds, 100, 1500);
        Assert.Contains(progress.Messages, m => m.Message.Contains($"held by pid {holder}", StringComparison.Ordinal));
    }

    [Fact]
    public async Task A_lock_that_is_never_released_ends_as_busy()
    {
        await using var database = await server.CreateDatabaseAsync();
        await Migrator(database, new ScriptSet()).MigrateAsync(cancellationToken: Cancellation);
        await using var reader = await database.DataSource.OpenConnectionAsync(Cancellation);
        await using var transaction = await reader.BeginTransactionAsync(Cancellation);
        await using var read = new NpgsqlCommand("select count(*) from credits.items", reader);
        await read.ExecuteScalarAsync(Cancellation);

        var options = new MigratorOptions
        {
            Scripts = new ScriptSet().With("migrations/0003_price.sql", "alter table credits.items add column price numeric;").Build(),
            RolePrefix = database.RolePrefix,
            LockTimeout = TimeSpan.FromMilliseconds(100),
            Tries = 2,
        };
        var error = await Assert.ThrowsAsync<MigrationException>(
            () => new Migrator(database.DataSource, options).MigrateAsync(cancellationToken: Cancellation));

        Assert.Equal((MigrationProblem.Busy, "migrations.0003_price.sql", "55P03"), (error.Problem, error.Script, error.SqlState));
    }

    [Fact]
    public async Task What_scripts_say_is_shown_but_not_the_servers_own_chatter()
    {
        await using var database = await server.CreateDatabaseAsync();
        var progress = new Recorder();
        var scripts = new ScriptSet().With(
            "triggers/attach.sql",
            "drop table if exists public.missing; do $$ begin raise notice 'call credits.attach_charge(%)', 'bots'; raise warning 'slow'; end $$;");

        var result = await Migrator(database, scripts).MigrateAsync(progress, Cancellation);

        Assert.Equal(
            [new("triggers.attach.sql", "NOTICE", "call credits.attach_charge(bots)"), new("triggers.attach.sql", "WARNING", "slow")],
            result.Notices);
        Assert.Equal(2, progress.Messages.Count(m => m.Kind == MigrationProgressKind.Notice));
    }

    [Fact]
    public async Task Without_app_leaves_out_the_reference_tables_until_they_are_asked_for()
    {
        await using var database = await server.CreateDatabaseAsync();
        var options = new MigratorOptions { Scripts = new ScriptSet().Build(), RolePrefix = database.RolePrefix, WithoutApp = true };
        var without = new Migrator(database.DataSource, options);
        await without.MigrateAsync(cancellationToken: Cancellation);
        Assert.True((await without.StatusAsync(Cancellation)).UpToDate);
        Assert.True(await database.ScalarAsync<bool>("select to_regclass('public.bots') is null"));

        var result = await new Migrator(database.DataSource, options with { WithoutApp = false }).MigrateAsync(cancellationToken: Cancellation);

        Assert.Equal(["app.0001_bots.sql"], result.Applied);
        Assert.Equal(1, await database.ScalarAsync<long>("select count(*) from pg_trigger where tgname = 'bot_made'"));
    }

    [Fact]
    public async Task A_rollback_undoes_what_was_applied_after_a_script_and_a_migration_brings_it_back()
    {
        await using var database = await server.CreateDatabaseAsync();
        var migrator = Migrator(database, new ScriptSet());
        await migrator.MigrateAsync(cancellationToken: Cancellation);
        var before = await database.ScalarAsync<string>(Catalog);

        var result = await migrator.RollbackAsync("migrations.0001_schema.sql", cancellationToken: Cancellation);

        Assert.Equal(["seed.0001_items.sql", "app.0001_bots.sql", "migrations.0002_note.sql"], result.Undone);
        Assert.Equal("migrations.0001_schema.sql", await JournalAsync(database));
        await migrator.MigrateAsync(cancellationToken: Cancellation);
        Assert.Equal(before, await database.ScalarAsync<string>(Catalog));
    }

    [Fact]
    public async Task A_rollback_of_everything_takes_the_schema_and_its_journal_along()
    {
        await using var database = await server.CreateDatabaseAsync();
        var migrator = Migrator(database, new ScriptSet());
        await migrator.MigrateAsync(cancellationToken: Cancellation);
        var before = await database.ScalarAsync<string>(Catalog);

        var result = await migrator.RollbackAsync(null, cancellationToken: Cancellation);

        Assert.Equal(4, result.Undone.Count);
        Assert.True(await database.ScalarAsync<bool>("select to_regnamespace('credits') is null"));
        Assert.Empty((await migrator.RollbackAsync(null, cancellationToken: Cancellation)).Undone);
        await migrator.MigrateAsync(cancellationToken: Cancellation);
        Assert.Equal(before, await database.ScalarAsync<string>(Catalog));
    }

    [Fact]
    public async Task A_rollback_that_would_lose_data_needs_force()
    {
        await using var database = await server.CreateDatabaseAsync();
        var migrator = Migrator(database, new ScriptSet());
        await migrator.MigrateAsync(cancellationToken: Cancellation);
        await database.ExecuteAsync("insert into credits.items values (4)");

        var error = await Assert.ThrowsAsync<MigrationException>(() => migrator.RollbackAsync(null, cancellationToken: Cancellation));
        Assert.Equal((MigrationProblem.RollbackRefused, "UC390", "use --force"), (error.Problem, error.SqlState, error.Hint));
        Assert.True((await migrator.StatusAsync(Cancellation)).UpToDate);

        Assert.Equal(4, (await migrator.RollbackAsync(null, force: true, cancellationToken: Cancellation)).Undone.Count);
    }

    [Fact]
    public async Task A_rollback_without_all_its_down_scripts_undoes_nothing()
    {
        await using var database = await server.CreateDatabaseAsync();
        var migrator = Migrator(database, new ScriptSet().Without("rollback/migrations.0002_note.sql"));
        await migrator.MigrateAsync(cancellationToken: Cancellation);

        var error = await Assert.ThrowsAsync<MigrationException>(() => migrator.RollbackAsync(null, force: true, cancellationToken: Cancellation));

        Assert.Equal((MigrationProblem.RollbackRefused, "migrations.0002_note.sql"), (error.Problem, error.Script));
        Assert.True((await migrator.StatusAsync(Cancellation)).UpToDate);
        await Assert.ThrowsAsync<MigrationException>(() => migrator.RollbackAsync("migrations.0009.sql", cancellationToken: Cancellation));
    }

    [Fact]
    public async Task A_waiting_migration_can_be_cancelled()
    {
        await using var database = await server.CreateDatabaseAsync();
        await using var other = await database.DataSource.OpenConnectionAsync(Cancellation);
        await using var transaction = await other.BeginTransactionAsync(Cancellation);
        await using var hold = new NpgsqlCommand("select pg_advisory_xact_lock(27991802496250995)", other);
        await hold.ExecuteNonQueryAsync(Cancellation);
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(Cancellation);
        var progress = new Recorder();

        var migration = Migrator(database, new ScriptSet(), lockTimeout: 100).MigrateAsync(progress, stop.Token);
        while (!progress.Messages.Any(m => m.Kind == MigrationProgressKind.Waiting))
            await Task.Delay(20, Cancellation);
        await Task.Delay(300, Cancellation);
        Assert.False(migration.IsCompleted);
        await stop.CancelAsync();

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => migration);
    }

    private static Migrator Migrator(EmptyDatabase database, ScriptSet scripts, string? prefix = null, int lockTimeout = 3000) =>
        new(database.DataSource, new()
        {
            Scripts = scripts.Build(),
            RolePrefix = prefix ?? database.RolePrefix,
            LockTimeout = TimeSpan.FromMilliseconds(lockTimeout),
        });

    private static async Task<string> JournalAsync(EmptyDatabase database) =>
        await database.ScalarAsync<string>("select string_agg(scriptname, chr(10) order by schemaversionsid) from credits.schemaversions") ?? "";

    private static async Task DbUpJournalsAsync(EmptyDatabase database, string name)
    {
        await using var insert = database.DataSource.CreateCommand(
            "insert into \"credits\".\"schemaversions\" (ScriptName, Applied) values (@scriptName, @applied)");
        insert.Parameters.AddWithValue("scriptName", name);
        insert.Parameters.AddWithValue("applied", TimeProvider.System.GetLocalNow().DateTime);
        await insert.ExecuteNonQueryAsync(Cancellation);
    }

    private sealed class Recorder : IProgress<MigrationProgress>
    {
        public ConcurrentQueue<MigrationProgress> Messages { get; } = [];

        public void Report(MigrationProgress value) => Messages.Enqueue(value);
    }
}

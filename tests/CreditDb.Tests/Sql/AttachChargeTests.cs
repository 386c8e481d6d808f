using Npgsql;

namespace CreditDb.Tests.Sql;

public sealed class AttachChargeTests(TestDatabase db) : IClassFixture<TestDatabase>, IAsyncLifetime
{
    private readonly string _table = "public.t" + Guid.NewGuid().ToString("N");

    public async ValueTask InitializeAsync() => await db.Run("select credits.set_cost('test_unit', 2)");

    public async ValueTask DisposeAsync()
    {
        await db.Run($"select credits.detach_charge(to_regclass('{_table}')) where to_regclass('{_table}') is not null");
        await db.Run($"drop table if exists {_table}");
    }

    [Fact]
    public async Task Charges_a_table_of_the_application_on_insert()
    {
        var user = await db.Account(10);
        await db.Run($"create table {_table} (id bigint generated always as identity primary key, user_id uuid not null)");
        await Attach("");
        await db.Run($"insert into {_table} (user_id) values ($1), ($1)", user);
        Assert.Equal(6, await db.Balance(user));
        Assert.Empty(await db.Column<string>("select problem from credits.verify_attachments()"));
    }

    [Fact]
    public async Task Takes_the_quantity_from_a_column_in_started_units_and_the_user_from_another_id()
    {
        var user = await db.Value<Guid>("select credits.user_id_for('auth', 'joe')");
        await db.Run("select credits.open_account($1)", user);
        await db.Run($"create table {_table} (key text primary key, \"Owner\" text not null, tokens integer)");
        await Attach(", p_user_column => 'Owner', p_id_column => 'key', p_quantity_column => 'tokens', p_quantity_per_unit => 1000, p_user_issuer => 'auth'");
        await db.Run($"insert into {_table} values ('a', 'joe', 1001), ('b', 'joe', 1)");
        Assert.Equal(94, await db.Balance(user));
    }

    [Theory]
    [InlineData("null")]
    [InlineData("0")]
    [InlineData("-1")]
    [InlineData("'NaN'")]
    [InlineData("0.0000001")]
    [InlineData("2000000000")]
    public async Task Refuses_a_row_whose_quantity_is_no_quantity(string quantity)
    {
        var user = await db.Account(10);
        await db.Run($"create table {_table} (id int primary key, user_id uuid not null, n numeric)");
        await Attach(", p_quantity_column => 'n'");
        await db.Fails("UC001", $"insert into {_table} values (1, $1, {quantity})", user);
        Assert.Equal(0, await db.Value<long>($"select count(*) from {_table}"));
        Assert.Equal(10, await db.Balance(user));
    }

    [Fact]
    public async Task Charges_when_a_status_is_reached_once_for_all()
    {
        var user = await db.Account(100);
        await db.Run($"create type {_table}_state as enum ('new', 'it''s 100% done')");
        await db.Run($"create table {_table} (id uuid primary key default gen_random_uuid(), user_id uuid not null, state {_table}_state, n int)");
        await Attach(", p_quantity_column => 'n', p_status_column => 'state', p_status_value => 'it''s 100% done'");
        await db.Run($"insert into {_table} (user_id, state, n) values ($1, 'new', 3), ($1, 'it''s 100% done', 1), ($1, 'it''s 100% done', null)", user);
        Assert.Equal(98, await db.Balance(user));
        await db.Run($"update {_table} set state = 'it''s 100% done'");
        Assert.Equal(92, await db.Balance(user));
        await db.Fails("UC001", $"update {_table} set n = -5 where n is null");
        await db.Run($"update {_table} set n = 5 where n is null");
        Assert.Equal(82, await db.Balance(user));
        await db.Run($"update {_table} set state = 'new', n = n + 1");
        await db.Run($"update {_table} set state = 'it''s 100% done', id = gen_random_uuid()");
        Assert.Equal(82, await db.Balance(user));
        Assert.Empty(await db.Column<string>("select problem from credits.verify_attachments()"));
    }

    [Fact]
    public async Task Covers_a_partitioned_table_and_its_partitions_and_reports_a_new_one_until_attached_again()
    {
        var user = await db.Account(100);
        await db.Run(
            $"""
            create table {_table} (id uuid not null default gen_random_uuid(), user_id uuid not null, day int not null, state text, primary key (id, day)) partition by range (day);
            create table {_table}_1 partition of {_table} for values from (1) to (10) partition by list (day);
            create table {_table}_1a partition of {_table}_1 default;
            """);
        await Attach("");
        await db.Run($"insert into {_table} (user_id, day) values ($1, 1), ($1, 2)", user);
        await db.Run($"insert into {_table}_1 (user_id, day) values ($1, 3)", user);
        await db.Run($"insert into {_table}_1a (user_id, day) values ($1, 4)", user);
        Assert.Equal(92, await db.Balance(user));

        await db.Run($"create table {_table}_2 partition of {_table} for values from (10) to (20)");
        await db.Run($"insert into {_table} (user_id, day) values ($1, 11)", user);
        Assert.Equal(90, await db.Balance(user));
        Assert.Equal([$"{_table}_2 missing"], await db.Column<string>("select relation || ' ' || problem from credits.verify_attachments()"));
        await Attach("");
        await db.Run($"insert into {_table}_2 (user_id, day) values ($1, 12)", user);
        Assert.Equal(88, await db.Balance(user));
        Assert.Empty(await db.Column<string>("select problem from credits.verify_attachments()"));

        // The same id in two partitions is one identity.
        var id = Guid.NewGuid();
        await db.Run($"insert into {_table} (id, user_id, day) values ($1, $2, 5), ($1, $2, 15)", id, user);
        Assert.Equal(86, await db.Balance(user));
    }

    [Fact]
    public async Task A_status_on_a_partitioned_table_is_watched_in_every_partition_also_a_later_one()
    {
        var user = await db.Account(100);
        await db.Run($"create table {_table} (id int not null, user_id uuid not null, state text, primary key (id)) partition by hash (id)");
        await db.Run($"create table {_table}_0 partition of {_table} for values with (modulus 2, remainder 0)");
        await Attach(", p_status_column => 'state', p_status_value => 'done'");
        await db.Run($"create table {_table}_1 partition of {_table} for values with (modulus 2, remainder 1)");
        await db.Run($"insert into {_table} select n, $1, 'new' from generate_series(1, 10) n", user);
        await db.Run($"update {_table} set state = 'done'");
        Assert.Equal(80, await db.Balance(user));
    }

    [Fact]
    public async Task Attaching_again_changes_the_settings_and_keeps_a_disabled_trigger_disabled()
    {
        var user = await db.Account(100);
        await db.Run($"create table {_table} (id int primary key, user_id uuid not null)");
        await Attach("");
        await db.Run($"alter table {_table} disable trigger user");
        Assert.Equal(["disabled"], await db.Column<string>("select problem from credits.verify_attachments()"));
        await Attach(", p_quantity => 3");
        await db.Run($"insert into {_table} values (1, $1)", user);
        Assert.Equal(100, await db.Balance(user));
        await db.Run($"alter table {_table} enable trigger user");
        await db.Run($"insert into {_table} values (2, $1)", user);
        Assert.Equal(94, await db.Balance(user));
    }

    [Fact]
    public async Task Detaching_ends_it_and_attaching_again_does_not_charge_old_rows()
    {
        var user = await db.Account(100);
        await db.Run($"create table {_table} (id int primary key, user_id uuid not null, state text)");
        await Attach(", p_status_column => 'state', p_status_value => 'done'");
        await db.Run($"insert into {_table} values (1, $1, 'done')", user);
        Assert.Equal("ok", (await db.Json($"select credits.detach_charge('{_table}')")).Text("code"));
        Assert.Equal("not_found", (await db.Json($"select credits.detach_charge('{_table}')")).Text("code"));
        await db.Run($"insert into {_table} values (2, $1, 'done')", user);
        await Attach(", p_status_column => 'state', p_status_value => 'done'");
        await db.Run($"update {_table} set state = 'new' where id = 1", user);
        await db.Run($"update {_table} set state = 'done' where id = 1", user);
        Assert.Equal(98, await db.Balance(user));
    }

    [Fact]
    public async Task A_row_that_reaches_its_status_by_moving_to_another_partition_is_charged_once()
    {
        var user = await db.Account(100);
        await db.Run(
            $"""
            create table {_table} (id uuid default gen_random_uuid(), user_id uuid not null, state text not null, primary key (id, state)) partition by list (state);
            create table {_table}_new partition of {_table} for values in ('new');
            create table {_table}_done partition of {_table} for values in ('done');
            """);
        await Attach(", p_status_column => 'state', p_status_value => 'done'");
        await db.Run($"insert into {_table} (user_id, state) values ($1, 'new'), ($1, 'new'), ($1, 'done')", user);
        await db.Run($"insert into {_table}_done (user_id, state) values ($1, 'done')", user);
        Assert.Equal(96, await db.Balance(user));
        await db.Run($"update {_table} set state = 'done'");
        await db.Run($"update {_table} set state = 'new'");
        await db.Run($"update {_table} set state = 'done'");
        Assert.Equal(92, await db.Balance(user));
        await Attach("");
        await db.Run($"insert into {_table}_new (user_id, state) values ($1, 'new')", user);
        Assert.Equal(90, await db.Balance(user));
        await Attach(", p_status_column => 'state', p_status_value => 'done'");
        await db.Run($"insert into {_table} (user_id, state) values ($1, 'new'), ($1, 'done')", user);
        Assert.Equal(88, await db.Balance(user));
        Assert.Empty(await db.Column<string>("select problem from credits.verify_attachments()"));
    }

    [Fact]
    public async Task A_partitioned_table_whose_ids_are_only_unique_per_partition_is_refused()
    {
        await db.Run($"create table {_table} (tenant int not null, id int not null, user_id uuid not null, primary key (tenant, id)) partition by list (tenant)");
        await db.Fails("UC001", AttachSql(""));
    }

    [Fact]
    public async Task A_partition_that_was_detached_charges_no_more_until_it_is_attached_by_itself()
    {
        var user = await db.Account(100);
        await db.Run($"create table {_table} (id uuid default gen_random_uuid(), user_id uuid not null, d int not null, primary key (id, d)) partition by list (d)");
        await db.Run($"create table {_table}_1 partition of {_table} for values in (1)");
        await Attach("");
        await db.Run($"alter table {_table} detach partition {_table}_1; alter table {_table}_1 add unique (id)");
        await db.Run($"insert into {_table}_1 (user_id, d) values ($1, 1)", user);
        Assert.Equal(100, await db.Balance(user));
        Assert.Equal([$"{_table}_1 belongs to no attachment, and charges nothing"], await db.Column<string>("select relation || ' ' || problem from credits.verify_attachments()"));
        await db.Run($"select credits.attach_charge('{_table}_1', 'test_unit')");
        await db.Run($"insert into {_table}_1 (user_id, d) values ($1, 1)", user);
        Assert.Equal(98, await db.Balance(user));
        await db.Run($"alter table {_table} attach partition {_table}_1 for values in (1)");
        await db.Fails("UC001", AttachSql(""));
        await db.Run($"select credits.detach_charge('{_table}_1')");
    }

    [Fact]
    public async Task Attaching_again_without_a_status_leaves_no_trigger_of_the_old_settings()
    {
        var (one, two) = (await db.Account(10), await db.Account(10));
        await db.Run($"create table {_table} (id int primary key, a_id uuid not null, b_id uuid not null, state text)");
        await Attach(", p_user_column => 'a_id', p_status_column => 'state', p_status_value => 'done'");
        await Attach(", p_user_column => 'b_id'");
        await db.Run($"insert into {_table} values (1, $1, $2, 'new')", one, two);
        await db.Run($"update {_table} set state = 'done'");
        Assert.Equal((10m, 8m), (await db.Balance(one), await db.Balance(two)));
    }

    [Fact]
    public async Task A_table_of_calls_counts_minutes_and_shows_its_calls()
    {
        var user = await db.Account(100);
        await db.Run($"create table {_table} (id uuid primary key default gen_random_uuid(), user_id uuid not null, state text, seconds int)");
        await Attach(", p_quantity_column => 'seconds', p_quantity_per_unit => 60, p_status_column => 'state', p_status_value => 'done', p_is_call => true");
        await db.Run($"insert into {_table} (user_id, state, seconds) values ($1, 'done', 61), ($1, 'new', 600)", user);
        await db.Fails("UC001", $"insert into {_table} (user_id, state, seconds) values ($1, 'done', -30)", user);
        await db.Fails("UC001", $"update {_table} set state = 'done', seconds = -30 where state = 'new'");
        Assert.Equal(2, await db.Value<long>("select total_minutes_used from credits.accounts where user_id = $1", user));
        Assert.Equal(1, await db.Value<long>($"select count(*) from credits.credit_usage_logs l join {_table} t on t.id = l.call_id where usage_type = 'call' and l.user_id = $1", user));
    }

    [Fact]
    public async Task Names_with_percent_signs_and_quotes_are_just_names()
    {
        var user = await db.Value<Guid>("select credits.user_id_for('https://idp/%7Ea''b', 'joe')");
        await db.Run("select credits.open_account($1)", user);
        await db.Run($"create table {_table} (\"id%1$s\" int primary key, \"us'er%I\" text not null, \"st%1\" text)");
        await Attach(", p_id_column => 'id%1$s', p_user_column => 'us''er%I', p_status_column => 'st%1', p_status_value => '%s', p_user_issuer => 'https://idp/%7Ea''b'");
        await db.Run($"insert into {_table} values (1, 'joe', 'x')");
        await db.Run($"update {_table} set \"st%1\" = '%s'");
        await db.Run($"update {_table} set \"id%1$s\" = 2, \"st%1\" = 'x'");
        await db.Run($"update {_table} set \"st%1\" = '%s'");
        Assert.Equal(98, await db.Balance(user));
    }

    [Fact]
    public async Task Verify_sees_a_trigger_narrowed_to_a_column_and_a_table_that_inherits()
    {
        await db.Run($"create table {_table} (id int primary key, user_id uuid not null, state text, other int)");
        await Attach(", p_status_column => 'state', p_status_value => 'done'");
        var definition = await db.Value<string>($"select pg_get_triggerdef(oid) from pg_trigger where tgrelid = '{_table}'::regclass and tgname like 'credits_charge_update%'");
        var name = definition.Split(' ')[2];
        await db.Run($"drop trigger {name} on {_table}");
        await db.Run(definition.Replace("AFTER UPDATE ON", "AFTER UPDATE OF other ON", StringComparison.Ordinal));
        await db.Run($"create table {_table}_child () inherits ({_table})");
        Assert.Equal(["replaced", $"inherits from {_table}, and its rows are not charged"], await db.Column<string>("select problem from credits.verify_attachments() order by relation"));
        await db.Run($"drop table {_table}_child");
    }

    [Theory]
    [InlineData("it's \"quoted\" $$ \\ %s")]
    [InlineData("x\ny")]
    public async Task Each_source_has_a_trigger_function_of_its_own_that_goes_with_it(string source)
    {
        const string Written = "select count(*) from pg_proc where proname like 'charge\\_rows\\_%'";
        var before = await db.Value<long>(Written);
        var user = await db.Account(10);
        await db.Run($"create table {_table} (\"the id's\" uuid primary key, \"user\" uuid not null)");
        await db.Run($"select credits.attach_charge('{_table}', 'test_unit', 'user', 'the id''s', p_source => $1)", source);
        await db.Run($"insert into {_table} values (gen_random_uuid(), $1)", user);
        Assert.Equal(8, await db.Balance(user));
        Assert.Equal(source, await db.Value<string>("select row_source from credits.credit_ledger where user_id = $1 and kind = 'usage'", user));
        Assert.Equal(before + 1, await db.Value<long>(Written));
        Assert.Equal(["creditdb_admin"], await db.Column<string>(
            $"""
            select r.rolname::text from pg_trigger t cross join pg_roles r
            where t.tgrelid = '{_table}'::regclass and r.rolname ~ '^creditdb_(app|admin|reader|user)$' and has_function_privilege(r.oid, t.tgfoid, 'execute')
            """));
        await db.Run($"select credits.detach_charge('{_table}')");
        Assert.Equal(before, await db.Value<long>(Written));
    }

    [Fact]
    public async Task A_session_that_is_open_charges_by_the_columns_names_whatever_was_renamed()
    {
        var (seller, buyer) = (await db.Account(10), await db.Account(10));
        await db.Run($"create table {_table} (id int primary key, user_id uuid not null, buyer uuid not null, state text)");
        await Attach(", p_status_column => 'state', p_status_value => 'done'");
        await using var open = await db.Source.OpenConnectionAsync(TestContext.Current.CancellationToken);
        await open.Run($"insert into {_table} values (1, $1, $2, 'new'), (2, $1, $2, 'new')", seller, buyer);
        await open.Run($"update {_table} set state = 'done' where id = 1");
        await db.Run($"alter table {_table} rename user_id to seller; alter table {_table} rename buyer to user_id");
        await open.Run($"update {_table} set state = 'done' where id = 2");
        await open.Run($"insert into {_table} values (3, $1, $2, 'done')", seller, buyer);
        Assert.Equal((8, 6), (await db.Balance(seller), await db.Balance(buyer)));

        await db.Run($"alter table {_table} rename user_id to buyer");
        Assert.Contains("has no column user_id any more: attach it again", await db.Column<string>("select problem from credits.verify_attachments()"));
        Assert.Equal("42703", (await Assert.ThrowsAsync<PostgresException>(() => open.Run($"insert into {_table} values (4, $1, $2, 'done')", seller, buyer))).SqlState);
    }

    [Fact]
    public async Task A_transaction_that_began_before_the_table_was_attached_is_to_be_retried()
    {
        var user = await db.Account(10);
        await db.Run($"create table {_table} (id int primary key, user_id uuid not null)");
        await using var old = await db.Source.OpenConnectionAsync(TestContext.Current.CancellationToken);
        await using (await old.BeginTransactionAsync(System.Data.IsolationLevel.RepeatableRead, TestContext.Current.CancellationToken))
        {
            await old.Run("select 1 from credits.accounts");
            await Attach("");
            Assert.Equal("40001", (await Assert.ThrowsAsync<PostgresException>(() => old.Run($"insert into {_table} values (1, $1)", user))).SqlState);
        }

        await old.Run($"insert into {_table} values (1, $1)", user);
        Assert.Equal(8, await db.Balance(user));
    }

    [Fact]
    public async Task A_partition_that_was_detached_keeps_a_trigger_that_charges_nothing()
    {
        var user = await db.Account(10);
        await db.Run($"create table {_table} (id uuid primary key, user_id uuid not null) partition by hash (id)");
        await db.Run($"create table {_table}_0 partition of {_table} for values with (modulus 1, remainder 0)");
        await Attach("");
        await db.Run($"alter table {_table} detach partition {_table}_0");
        await db.Run($"select credits.detach_charge('{_table}')");
        await db.Run($"insert into {_table}_0 values (gen_random_uuid(), $1)", user);
        Assert.Equal(10, await db.Balance(user));
        Assert.Equal(["belongs to no attachment, and charges nothing"], await db.Column<string>("select problem from credits.verify_attachments()"));
        await db.Run($"drop table {_table}_0");
    }

    [Fact]
    public async Task A_table_that_was_dropped_is_detached_by_its_source()
    {
        await db.Run($"create table {_table} (id int primary key, user_id uuid not null)");
        await Attach("");
        await db.Run($"drop table {_table}");
        Assert.Equal([$"the table is gone: detach_charge(p_source => '{_table}')"], await db.Column<string>("select problem from credits.verify_attachments()"));
        Assert.Equal("ok", (await db.Json($"select credits.detach_charge(p_source => '{_table}')")).Text("code"));
        Assert.Empty(await db.Column<string>("select problem from credits.verify_attachments()"));
        await db.Fails("UC001", "select credits.detach_charge(null)");
    }

    [Theory]
    [InlineData("a drop", "drop trigger %t on %r", "missing")]
    [InlineData("another trigger of that name", "drop trigger %t on %r; create trigger %t after insert on %r referencing new table as new_rows for each statement when (false) execute function %f()", "replaced")]
    [InlineData("another firing mode", "alter table %r enable replica trigger %t", "enabled in another mode than usual")]
    public async Task Verify_sees(string what, string tampering, string problem)
    {
        _ = what;
        await db.Run($"create table {_table} (id int primary key, user_id uuid not null)");
        await Attach("");
        var trigger = await db.Value<string>($"select tgname::text from pg_trigger where tgrelid = '{_table}'::regclass");
        var function = await db.Value<string>($"select tgfoid::regproc::text from pg_trigger where tgrelid = '{_table}'::regclass");
        await db.Run(tampering.Replace("%t", trigger, StringComparison.Ordinal).Replace("%f", function, StringComparison.Ordinal).Replace("%r", _table, StringComparison.Ordinal));
        Assert.Equal([problem], await db.Column<string>("select problem from credits.verify_attachments()"));
    }

    [Theory]
    [InlineData("id int primary key, user_id uuid", "", "p_user_column")]
    [InlineData("id int primary key, user_id text not null", "", "p_user_column")]
    [InlineData("id int primary key, owner uuid not null", "", "p_user_column")]
    [InlineData("id int not null, user_id uuid not null", "", "p_id_column")]
    [InlineData("id int, user_id uuid not null, unique (id)", "", "p_id_column")]
    [InlineData("id int not null, b int not null, user_id uuid not null, primary key (id, b)", "", "p_id_column")]
    [InlineData("k int primary key, id int not null, user_id uuid not null, unique (k) include (id)", "", "p_id_column")]
    [InlineData("id int not null unique deferrable, user_id uuid not null", "", "p_id_column")]
    [InlineData("id int primary key, user_id uuid not null, n int", ", p_quantity_column => 'n', p_is_call => true", "p_id_column")]
    [InlineData("id uuid primary key, user_id uuid not null, n int", ", p_quantity_column => 'n', p_is_call => true", "p_quantity_per_unit")]
    [InlineData("id timestamptz primary key, user_id uuid not null", "", "p_id_column")]
    [InlineData("id int primary key, user_id uuid not null, n text", ", p_quantity_column => 'n'", "p_quantity_column")]
    [InlineData("id int primary key, user_id uuid not null", ", p_quantity_column => 'n'", "p_quantity_column")]
    [InlineData("id int primary key, user_id uuid not null", ", p_quantity => 0", "p_quantity")]
    [InlineData("id int primary key, user_id uuid not null", ", p_quantity => 'NaN'", "p_quantity")]
    [InlineData("id int primary key, user_id uuid not null", ", p_quantity_per_unit => 10", "p_quantity_per_unit")]
    [InlineData("id int primary key, user_id uuid not null, s text", ", p_status_column => 's'", "p_status_value")]
    [InlineData("id int primary key, user_id uuid not null, s jsonb", ", p_status_column => 's', p_status_value => '1'", "p_status_column")]
    [InlineData("id int primary key, user_id uuid not null", ", p_source => 'caller'", "p_source")]
    public async Task Refuses_what_cannot_be_attached_and_says_why(string columns, string options, string argument)
    {
        await db.Run($"create table {_table} ({columns})");
        var error = await db.Fails("UC001", AttachSql(options));
        Assert.Contains($"\"{argument}\"", error.Detail, StringComparison.Ordinal);
        Assert.Equal(0, await db.Value<long>($"select count(*) from pg_trigger where tgrelid = '{_table}'::regclass and not tgisinternal"));
    }

    [Fact]
    public async Task Refuses_inheritance_views_temporary_tables_partitions_and_the_engines_own()
    {
        await db.Run($"create table {_table} (id int primary key, user_id uuid not null)");
        await db.Run($"create table {_table}_child (primary key (id)) inherits ({_table})");
        await db.Run($"create view {_table}_view as select * from {_table}");
        await db.Run($"create table {_table}_p (id int primary key, user_id uuid not null) partition by hash (id)");
        await db.Run($"create table {_table}_p0 partition of {_table}_p for values with (modulus 1, remainder 0)");
        foreach (var table in new[] { _table, _table + "_child", _table + "_view", _table + "_p0", "credits.wallets" })
            await db.Fails("UC001", $"select credits.attach_charge('{table}', 'test_unit')");
        await db.Fails("UC001", "select credits.attach_charge(null, 'test_unit')");
        await db.Fails("UC001", $"select credits.attach_charge('{_table}_p', 'no_such_action')");
        await db.Run($"drop table {_table}_child; drop view {_table}_view; drop table {_table}_p");
    }

    [Fact]
    public async Task A_source_stands_for_one_table_and_action()
    {
        await db.Run($"create table {_table} (id int primary key, user_id uuid not null)");
        await Attach("");
        await db.Fails("UC302", $"select credits.attach_charge('{_table}', 'send_email')");
        await db.Fails("UC302", $"select credits.attach_charge('{_table}', 'test_unit', p_source => 'public.bots')");
        await db.Fails("UC302", $"select credits.attach_charge('{_table}', 'test_unit', p_source => 'second')");
        await db.Run($"select credits.attach_charge('{_table}', 'send_email', p_source => 'second')");
        var user = await db.Account(10);
        await db.Run($"insert into {_table} values (1, $1)", user);
        Assert.Equal(7.5m, await db.Balance(user));
    }

    [Fact]
    public async Task A_cast_of_somebody_elses_type_is_never_run_with_the_engines_rights()
    {
        var user = await db.Account(10);
        await db.Run($"create table {_table} (id text primary key, user_id uuid not null)");
        await Attach("");
        await db.Run(
            $"""
            create type {_table}_evil as (x int);
            create table {_table}_trace (who text);
            create function {_table}_run({_table}_evil) returns text language plpgsql as $$ begin insert into {_table}_trace values (current_user); return 'x'; end $$;
            create cast ({_table}_evil as text) with function {_table}_run({_table}_evil);
            """);
        await using var late = await db.Source.OpenConnectionAsync(TestContext.Current.CancellationToken);
        await late.Run("begin isolation level repeatable read");
        await late.Value<int>("select 1");
        await db.Run($"alter table {_table} alter column id type {_table}_evil using row(1)::{_table}_evil");
        await late.Run($"insert into {_table} values (row(1), $1)", user);
        await late.Run("commit");
        Assert.Equal(0, await db.Value<long>($"select count(*) from {_table}_trace"));
        Assert.Equal(8, await db.Balance(user));
        await db.Run($"select credits.detach_charge('{_table}'); drop table {_table} cascade; drop type {_table}_evil cascade; drop table {_table}_trace");
    }

    [Fact]
    public async Task Attaching_again_mends_a_trigger_that_was_replaced()
    {
        var user = await db.Account(10);
        await db.Run($"create table {_table} (id int primary key, user_id uuid not null)");
        await Attach("");
        var name = await db.Value<string>($"select tgname::text from pg_trigger where tgrelid = '{_table}'::regclass and tgname like 'credits%'");
        await db.Run($"create or replace trigger {name} after insert on {_table} for each row when (false) execute function suppress_redundant_updates_trigger()");
        Assert.Equal(["replaced"], await db.Column<string>("select problem from credits.verify_attachments()"));
        await Attach("");
        Assert.Empty(await db.Column<string>("select problem from credits.verify_attachments()"));
        await db.Run($"insert into {_table} values (1, $1)", user);
        Assert.Equal(8, await db.Balance(user));
    }

    private Task<int> Attach(string options) => db.Run(AttachSql(options));

    private string AttachSql(string options) => $"select credits.attach_charge('{_table}', 'test_unit'{options})";
}

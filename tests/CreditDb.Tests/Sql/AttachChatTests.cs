using Npgsql;

namespace CreditDb.Tests.Sql;

/// <summary>An application's own sessions table, charged when it updates elapsed seconds.</summary>
public sealed class AttachChatTests(TestDatabase db) : IClassFixture<TestDatabase>, IAsyncLifetime
{
    private readonly string _table = "public.t" + Guid.NewGuid().ToString("N");

    public async ValueTask InitializeAsync() => await At("00:00");

    public async ValueTask DisposeAsync()
    {
        await db.Run($"select credits.detach_charge(to_regclass('{_table}')) where to_regclass('{_table}') is not null");
        await db.Run($"drop table if exists {_table}");
    }

    [Fact]
    public async Task Charges_what_the_table_adds_and_nothing_for_other_updates()
    {
        var user = await db.Account(5);
        await Table("id uuid primary key default gen_random_uuid(), user_id uuid not null, elapsed_seconds int, topic text");
        await Attach(", p_free_seconds => 30");
        await db.Run($"insert into {_table} (user_id) values ($1)", user);
        await At("00:10");
        await db.Run($"update {_table} set elapsed_seconds = 75");
        Assert.Equal(4.25m, await db.Balance(user));
        var before = await db.Snapshot(user);
        await db.Run($"update {_table} set topic = 'cats'");
        await db.Run($"update {_table} set elapsed_seconds = 74");
        Assert.Equal(before, await db.Snapshot(user));
        // The same session by an explicit call.
        Assert.Equal(0.25m, (await db.Json($"select credits.record_chat_time(user_id, id, 90) from {_table}")).Number("credits_charged"));
        await db.Run($"update {_table} set elapsed_seconds = 600");
        Assert.Equal((0m, 4.5m), (await db.Balance(user), await Owed(user)));
        Assert.Equal(600, await db.Value<int>($"select elapsed_seconds from {_table}"));
        await db.Run("select credits.add_purchased_credits($1, 10)", user);
        Assert.Equal(5.5m, await db.Balance(user));
        await db.Run($"begin; update {_table} set elapsed_seconds = 620; rollback");
        Assert.Equal(5.5m, await db.Balance(user));
    }

    [Fact]
    public async Task A_row_ahead_of_the_clock_counts_as_far_as_it_may_be_and_the_rest_later()
    {
        var user = await db.Account(50);
        await Table("id text primary key, user_id uuid not null, elapsed_seconds bigint, began timestamptz");
        await Attach(", p_started_column => 'began'");
        await db.Run($"insert into {_table} values ('a', $1, 9000000000, null), ('b', $1, 130, '2026-01-09 23:58Z'), ('c', $1, 0, '2027-01-01')", user);
        Assert.Equal(["60", "130", "0"], await db.Column<string>(
            $"select s.elapsed_seconds::text from credits.chat_sessions s join {_table} t on s.session_id = credits.user_id_for('{_table}', t.id) order by t.id"));
        Assert.Equal(50 - 1 - 2, await db.Balance(user));
        await At("00:01");
        await db.Run($"update {_table} set elapsed_seconds = 9000000001 where id = 'a'");
        Assert.Equal(46, await db.Balance(user));
    }

    [Theory]
    [InlineData("-1")]
    [InlineData("'NaN'")]
    [InlineData("'Infinity'")]
    public async Task Refuses_seconds_that_are_none(string seconds)
    {
        var user = await db.Account(1);
        await Table("id int primary key, user_id uuid not null, elapsed_seconds numeric");
        await Attach("");
        var before = await db.Snapshot(user);
        await db.Fails("UC001", $"insert into {_table} values (1, $1, {seconds})", user);
        Assert.Equal((before, 0L), (await db.Snapshot(user), await db.Value<long>($"select count(*) from {_table}")));
        await db.Run($"insert into {_table} values (1, $1, 15.9)", user);
        Assert.Equal(0.75m, await db.Balance(user));
    }

    [Fact]
    public async Task A_row_that_gets_another_user_or_id_is_not_charged_again_for_the_time_before()
    {
        var (guest, user) = (Guid.NewGuid(), await db.Account(5));
        await Table("id int primary key, user_id uuid not null, elapsed_seconds int");
        await Attach("");
        await db.Run($"insert into {_table} values (1, $1, 0)", guest);
        await At("00:10");
        await db.Run($"update {_table} set elapsed_seconds = 100");
        await db.Run($"update {_table} set user_id = $1", user);
        Assert.Equal(5, await db.Balance(user));
        await db.Run($"update {_table} set elapsed_seconds = 130, id = 2");
        Assert.Equal(4.5m, await db.Balance(user));
        await db.Run($"update {_table} set elapsed_seconds = 160");
        Assert.Equal(4, await db.Balance(user));
    }

    [Fact]
    public async Task A_row_that_gets_its_former_user_or_id_back_is_not_charged_again_for_the_time_between()
    {
        var (mine, yours) = (await db.Account(50), await db.Account(50));
        await Table("id int primary key, user_id uuid not null, elapsed_seconds int");
        await Attach(", p_free_seconds => 30");
        await db.Run($"insert into {_table} values (1, $1, 0)", mine);
        await At("00:30");
        // A minute each: mine (of it half is free), yours, mine, under another id, and under the first one again.
        foreach (var change in new[] { $"user_id = '{mine}'", $"user_id = '{yours}'", $"user_id = '{mine}'", "id = 2", "id = 1" })
        {
            await db.Run($"update {_table} set {change}");
            await db.Run($"update {_table} set elapsed_seconds = elapsed_seconds + 60");
        }
        Assert.Equal((46.5m, 49m), (await db.Balance(mine), await db.Balance(yours)));
        await db.Run($"update {_table} set user_id = $1, elapsed_seconds = elapsed_seconds + 15", yours);
        Assert.Equal((46.5m, 48.75m), (await db.Balance(mine), await db.Balance(yours)));
    }

    [Fact]
    public async Task A_start_that_is_no_moment_is_refused_by_name()
    {
        var user = await db.Account(1);
        await Table("id int primary key, user_id uuid not null, elapsed_seconds int, began timestamptz");
        await Attach(", p_started_column => 'began'");
        var before = await db.Snapshot(user);
        await db.Fails("UC001", $"insert into {_table} values (1, $1, 15, '-infinity')", user);
        Assert.Equal(before, await db.Snapshot(user));
    }

    [Fact]
    public async Task Many_rows_of_many_users_in_one_statement_and_in_partitions()
    {
        var users = new[] { await db.Account(1), await db.Account(1), Guid.NewGuid() };
        await Table("id int not null, user_id uuid not null, elapsed_seconds int, day int not null, primary key (id, day)", "partition by list (day)");
        await db.Run($"create table {_table}_1 partition of {_table} for values in (1)");
        await Attach("");
        await db.Run($"create table {_table}_2 partition of {_table} for values in (2)");
        await db.Run($"insert into {_table} select n, ($1::uuid[])[1 + n % 3], 15, 1 + n % 2 from generate_series(0, 8) n", users);
        Assert.Equal([0.25m, 0.25m], new[] { await db.Balance(users[0]), await db.Balance(users[1]) });
        await db.Run($"update {_table} set elapsed_seconds = 30, day = 3 - day");
        Assert.Equal(["0.000000 0.500000", "0.000000 0.500000"], await db.Column<string>(
            "select balance || ' ' || owed from credits.wallets where user_id = any ($1) and credit_type = 'credits'", users));
        Assert.Empty(await db.Column<string>("select problem from credits.verify_attachments()"));
    }

    [Fact]
    public async Task Verify_sees_a_disabled_a_missing_and_a_left_over_trigger_and_detach_ends_it()
    {
        var user = await db.Account(5);
        await Table("id int primary key, user_id uuid not null, elapsed_seconds int");
        var triggers = (await db.Json($"select credits.attach_chat('{_table}')")).GetProperty("triggers").EnumerateArray().Select(t => t.GetString()).ToArray();
        await db.Run($"alter table {_table} disable trigger {triggers[0]}; drop trigger {triggers[1]} on {_table}");
        await db.Run($"create trigger left_over after insert on {_table} for each row execute function credits.meter_rows('{_table}')");
        Assert.Equal(["belongs to no attachment, and charges nothing", "disabled", "missing"],
            await db.Column<string>("select problem from credits.verify_attachments() order by problem"));
        await db.Run($"insert into {_table} values (1, $1, 60)", user);
        Assert.Equal(5, await db.Balance(user));
        await db.Run($"drop trigger left_over on {_table}");
        await Attach("");
        Assert.Equal(["disabled"], await db.Column<string>("select problem from credits.verify_attachments()"));
        await db.Run($"alter table {_table} enable trigger {triggers[0]}");
        Assert.Equal("ok", (await db.Json($"select credits.detach_charge('{_table}')")).Text("code"));
        await db.Run($"update {_table} set elapsed_seconds = 61");
        Assert.Equal(5, await db.Balance(user));
        Assert.Empty(await db.Column<string>("select problem from credits.verify_attachments()"));
    }

    [Theory]
    [InlineData(", p_user_column => 'nobody'", "p_user_column")]
    [InlineData(", p_session_column => 'elapsed_seconds'", "p_session_column")]
    [InlineData(", p_elapsed_column => 'id'", "p_elapsed_column")]
    [InlineData(", p_started_column => 'id'", "p_started_column")]
    [InlineData(", p_free_seconds => -1", "p_free_seconds")]
    [InlineData(", p_source => 'caller'", "p_source")]
    [InlineData(", p_source => 'import'", "p_source")]
    [InlineData(", p_source => 'erased'", "p_source")]
    [InlineData(", p_user_issuer => ''", "p_user_issuer")]
    public async Task Names_what_cannot_be_attached(string arguments, string argument)
    {
        await Table("id uuid primary key, user_id uuid not null, elapsed_seconds int");
        Assert.Contains($"\"{argument}\"", (await db.Fails("UC001", $"select credits.attach_chat('{_table}'{arguments})")).Detail, StringComparison.Ordinal);
        Assert.Equal(0, await db.Value<long>($"select count(*) from pg_trigger where tgrelid = '{_table}'::regclass"));
    }

    [Fact]
    public async Task A_source_stands_for_charged_rows_or_for_metered_ones_and_not_for_both()
    {
        await Table("id uuid primary key, user_id uuid not null, elapsed_seconds int");
        await Attach("");
        await db.Fails("UC302", $"select credits.attach_charge('{_table}', 'chat_time')");
        await db.Run($"select credits.detach_charge('{_table}'); select credits.attach_charge('{_table}', 'chat_time')");
        await db.Fails("UC302", $"select credits.attach_chat('{_table}')");
    }

    [Fact]
    public async Task Only_the_owner_attaches_and_a_role_that_may_merely_write_the_table_is_charged()
    {
        var user = await db.Account(5);
        await Table("id int primary key, user_id uuid not null, elapsed_seconds int");
        var role = "plain_" + Guid.NewGuid().ToString("N");
        await db.Run($"create role {role}; grant insert, select, update on {_table} to {role}; grant creditdb_admin to {role}");
        try
        {
            await Attach("");
            await using var source = NpgsqlDataSource.Create(new NpgsqlConnectionStringBuilder(db.ConnectionString) { Pooling = false });
            await using var connection = await source.OpenConnectionAsync(TestContext.Current.CancellationToken);
            await connection.Run($"set session authorization {role}");
            var error = await Assert.ThrowsAsync<PostgresException>(() => connection.Run($"select credits.attach_chat('{_table}', p_free_seconds => 9)"));
            Assert.Equal("UC402", error.SqlState);
            await connection.Run($"insert into {_table} values (1, $1, 30)", user);
            Assert.Equal(4.5m, await db.Balance(user));
        }
        finally
        {
            await db.Run($"drop owned by {role}; drop role {role}");
        }
    }

    [Fact]
    public async Task A_serialization_failure_fails_the_applications_statement()
    {
        var user = await db.Account(5);
        await Table("id int primary key, user_id uuid not null, elapsed_seconds int");
        await Attach("");
        await using var late = await db.Source.OpenConnectionAsync(TestContext.Current.CancellationToken);
        await late.Run("begin isolation level repeatable read");
        await late.Value<long>("select count(*) from public.bots");
        await db.Run("select credits.deduct_credits_for_action($1, 'send_email')", user);
        var error = await Assert.ThrowsAsync<PostgresException>(() => late.Run($"insert into {_table} values (1, $1, 30)", user));
        Assert.Equal("40001", error.SqlState);
    }

    private Task At(string time) => db.SetClock($"2026-01-10 {time}Z");

    private Task<int> Table(string columns, string rest = "") => db.Run($"create table {_table} ({columns}) {rest}");

    private Task<int> Attach(string arguments) => db.Run($"select credits.attach_chat('{_table}'{arguments})");

    private Task<decimal> Owed(Guid user) => db.Value<decimal>("select owed from credits.wallets where user_id = $1 and credit_type = 'credits'", user);
}

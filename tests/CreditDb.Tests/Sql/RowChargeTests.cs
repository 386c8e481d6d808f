using Npgsql;

namespace CreditDb.Tests.Sql;

/// <summary>Inserting an agent or a template charges for it, whatever the statement looks like.</summary>
public sealed class RowChargeTests(TestDatabase db) : IClassFixture<TestDatabase>
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task An_agent_costs_five_credits_and_a_template_one()
    {
        var user = await db.Account(10);
        var bot = await db.Value<Guid>("insert into public.bots (user_id, name) values ($1, 'a') returning id", user);
        await db.Run("insert into public.email_templates (user_id, name) values ($1, 't')", user);
        Assert.Equal(4, await db.Balance(user));
        Assert.Equal([$"create_agent 5.000000 public.bots {bot}"], await db.Column<string>(
            "select concat_ws(' ', action_type, amount_used, row_source, row_id) from credits.credit_usage_logs where user_id = $1 and action_type = 'create_agent'", user));
    }

    [Fact]
    public async Task Rows_are_decided_in_their_order_one_entry_each()
    {
        var user = await db.Account(12);
        await db.Run("insert into public.bots (user_id, name) select $1, 'bot ' || n from generate_series(1, 4) n", user);
        Assert.Equal(["bot 1 7.000000", "bot 2 2.000000"], await db.Column<string>(
            "select b.name || ' ' || l.balance_after from credits.credit_usage_logs l join public.bots b on b.id::text = l.row_id where l.user_id = $1 order by l.id", user));
        Assert.Equal(["bot 3 insufficient_credits 5.000000 2.000000", "bot 4 insufficient_credits 5.000000 2.000000"], await db.Column<string>(
            "select concat_ws(' ', b.name, u.code, u.required, u.available) from credits.uncharged_rows u join public.bots b on b.id::text = u.row_id where u.user_id = $1 order by u.ordinal", user));
    }

    [Fact]
    public async Task Notify_keeps_the_row_and_tells_the_user_once_per_statement()
    {
        var user = await db.Account();
        await db.Run("insert into public.bots (user_id, name) select $1, 'a' from generate_series(1, 5)", user);
        Assert.Equal(5, await db.Value<long>("select count(*) from public.bots where user_id = $1", user));
        Assert.Equal("Create Agent needs 5 credits; 0 available. 1 5", await db.Value<string>(
            "select concat_ws(' ', message, repeats, details ->> 'rows') from credits.notifications where user_id = $1", user));
    }

    [Theory]
    [InlineData(10_000)]
    [InlineData(0)]
    public async Task A_row_looks_at_no_other_rows_key_nor_listing_however_many_there_are(int credits)
    {
        const int rows = 200;
        var user = await db.Account(credits);
        var index = credits > 0 ? "credit_ledger_keys" : "uncharged_rows_pkey";
        var read = $"select idx_tup_read from pg_stat_user_indexes where schemaname = 'credits' and indexrelname = '{index}'";
        await using var connection = await db.Source.OpenConnectionAsync(Cancel);
        await connection.Run("select pg_stat_force_next_flush()");
        var before = await connection.Value<long>(read);
        await connection.Run(
            """
            do $$
            begin
              for i in 1 .. 200 loop
                insert into public.bots (user_id, name) values ('USER', 'b');
              end loop;
            end $$
            """.Replace("USER", $"{user}", StringComparison.Ordinal));
        await connection.Run("select pg_stat_force_next_flush()");
        Assert.InRange(await connection.Value<long>(read) - before, 0, 4 * rows);
        Assert.Equal(credits > 0 ? rows : 0, await db.Charges(user));
    }

    [Fact]
    public async Task Uncharged_rows_are_settled_in_order_at_the_price_of_their_day_and_once()
    {
        var user = await db.Account();
        await db.Run("insert into public.bots (user_id, name) select $1, 'bot ' || n from generate_series(1, 3) n", user);
        await db.Run("select credits.set_cost('create_agent', 50)");
        try
        {
            await db.Run("select credits.add_purchased_credits($1, 12)", user);
            var settled = await Task.WhenAll(Enumerable.Range(0, 4).Select(_ => db.Json("select credits.charge_uncharged($1)", user)));
            Assert.Equal((2m, 10m), (settled.Sum(s => s.Number("rows_charged")), settled.Sum(s => s.GetProperty("deducted").TryGetProperty("credits", out _) ? s.GetProperty("deducted").Number("credits") : 0)));
            Assert.Equal("bot 3", await db.Value<string>(
                "select b.name from credits.uncharged_rows u join public.bots b on b.id::text = u.row_id where u.user_id = $1", user));
            Assert.Equal(1, await db.Value<long>("select count(*) from credits.notifications where user_id = $1", user));
        }
        finally
        {
            await db.Run("select credits.set_cost('create_agent', 5)");
        }
    }

    [Fact]
    public async Task Rows_of_somebody_without_an_account_are_listed_and_settled_later()
    {
        var user = Guid.NewGuid();
        await db.Run("insert into public.bots (user_id, name) values ($1, 'a')", user);
        Assert.Equal("unknown_account", await db.Value<string>("select code from credits.uncharged_rows where user_id = $1", user));
        await db.Run("select credits.open_account($1)", user);
        Assert.Equal(1, (await db.Json("select credits.charge_uncharged($1)", user)).Number("rows_charged"));
        Assert.Equal(95, await db.Balance(user));
    }

    [Fact]
    public async Task Reject_fails_the_statement_with_a_code_and_leaves_nothing_behind()
    {
        var (rich, poor) = (await db.Account(100), await db.Account(7));
        await db.Run("select credits.set_cost('create_agent', p_on_insufficient => 'reject')");
        try
        {
            var before = (await db.Snapshot(rich), await db.Snapshot(poor));
            var error = await db.Fails("UC101", "insert into public.bots (user_id, name) values ($1, 'r'), ($2, 'p1'), ($2, 'p2')", rich, poor);
            var detail = System.Text.Json.JsonDocument.Parse(error.Detail!).RootElement;
            Assert.Equal(("insufficient_credits", 5m, 2m), (detail.Text("code"), detail.Number("required"), detail.Number("available")));
            Assert.Equal(before, (await db.Snapshot(rich), await db.Snapshot(poor)));
            Assert.Equal(0, await db.Value<long>("select count(*) from public.bots where user_id in ($1, $2)", rich, poor));
            await db.Fails("UC103", "insert into public.bots (user_id, name) values ($1, 'x')", Guid.NewGuid());
            await db.Run("update credits.accounts set status = 'suspended' where user_id = $1", rich);
            await db.Fails("UC104", "insert into public.bots (user_id, name) values ($1, 'x')", rich);
            await db.Run("select credits.set_cost('create_agent', p_is_active => false)");
            await db.Fails("UC106", "insert into public.bots (user_id, name) values ($1, 'x')", poor);
        }
        finally
        {
            await db.Run("select credits.set_cost('create_agent', p_on_insufficient => 'notify', p_is_active => true)");
        }
    }

    [Fact]
    public async Task Debt_overdraws_up_to_the_plans_limit_and_the_next_grant_pays_it()
    {
        var user = await db.Account(3);
        await db.Run("update credits.plans set debt_limit = 10 where plan_id = 'paid'");
        await db.Run("select credits.set_cost('create_agent', p_on_insufficient => 'debt')");
        try
        {
            await db.Run("insert into public.bots (user_id, name) select $1, 'a' from generate_series(1, 3)", user);
        }
        finally
        {
            await db.Run("select credits.set_cost('create_agent', p_on_insufficient => 'notify')");
            await db.Run("update credits.plans set debt_limit = 0 where plan_id = 'paid'");
        }
        var balance = await db.Json("select credits.get_credit_balance($1)", user);
        Assert.Equal((0m, 7m), (balance.Number("total"), balance.Number("debt")));
        Assert.Equal(1, await db.Value<long>("select count(*) from credits.uncharged_rows where user_id = $1", user));
        Assert.Equal("insufficient_credits", (await db.Json("select credits.deduct_credits_for_action($1, 'send_email')", user)).Text("code"));
        await db.Run("select credits.add_purchased_credits($1, 5)", user);
        Assert.Equal(0, await db.Balance(user));
        await db.Run("select credits.add_purchased_credits($1, 5)", user);
        Assert.Equal(3, await db.Balance(user));
    }

    [Fact]
    public async Task Copy_charges_each_row()
    {
        var (one, two) = (await db.Account(100), await db.Account(100));
        await using var connection = await db.Source.OpenConnectionAsync(Cancel);
        await using (var copy = await connection.BeginTextImportAsync("copy public.bots (user_id, name) from stdin", Cancel))
        {
            for (var i = 0; i < 6; i++)
                await copy.WriteAsync($"{(i % 3 == 0 ? one : two)}\tbot\n");
        }
        Assert.Equal((90m, 80m), (await db.Balance(one), await db.Balance(two)));
    }

    [Fact]
    public async Task On_conflict_charges_only_what_was_inserted()
    {
        var user = await db.Account(100);
        var id = Guid.NewGuid();
        await db.Run("insert into public.bots (id, user_id, name) values ($1, $2, 'a')", id, user);
        await db.Run("insert into public.bots (id, user_id, name) values ($1, $2, 'b') on conflict do nothing", id, user);
        await db.Run("insert into public.bots (id, user_id, name) values ($1, $2, 'c') on conflict (id) do update set name = excluded.name", id, user);
        await db.Run("insert into public.bots (id, user_id, name) values ($1, $2, 'd'), (gen_random_uuid(), $2, 'e') on conflict (id) do update set name = excluded.name", id, user);
        Assert.Equal(90, await db.Balance(user));
        Assert.Equal(2, await db.Charges(user));
    }

    [Fact]
    public async Task Merge_charges_what_it_inserts()
    {
        var user = await db.Account(100);
        var id = await db.Value<Guid>("insert into public.bots (user_id, name) values ($1, 'a') returning id", user);
        await db.Run(
            """
            merge into public.bots b using (values ($1::uuid, 'x'), (gen_random_uuid(), 'y')) s (id, name) on b.id = s.id
            when matched then update set name = s.name
            when not matched then insert (id, user_id, name) values (s.id, $2, s.name)
            """, id, user);
        Assert.Equal(90, await db.Balance(user));
    }

    [Fact]
    public async Task A_statement_that_inserts_nothing_charges_nothing()
    {
        var user = await db.Account(100);
        await db.Run("insert into public.bots (user_id, name) select $1, 'a' where false", user);
        Assert.Equal(100, await db.Balance(user));
    }

    [Fact]
    public async Task A_data_modifying_cte_and_a_row_inserted_by_another_trigger_are_charged()
    {
        var user = await db.Account(100);
        await db.Run("with b as (insert into public.bots (user_id, name) values ($1, 'a') returning user_id) insert into public.email_templates (user_id, name) select user_id, 't' from b", user);
        Assert.Equal(94, await db.Balance(user));
    }

    [Fact]
    public async Task Rollback_and_savepoints_take_the_charge_back_with_the_row()
    {
        var user = await db.Account(100);
        await using var connection = await db.Source.OpenConnectionAsync(Cancel);
        await connection.Run("begin");
        await connection.Run("insert into public.bots (user_id, name) values ($1, 'kept')", user);
        await connection.Run("savepoint s");
        await connection.Run("insert into public.bots (user_id, name) select $1, 'gone' from generate_series(1, 5)", user);
        await connection.Run("rollback to savepoint s");
        await connection.Run("insert into public.bots (user_id, name) values ($1, 'kept')", user);
        await connection.Run("commit");
        await connection.Run("begin");
        await connection.Run("insert into public.bots (user_id, name) values ($1, 'gone')", user);
        await connection.Run("rollback");
        Assert.Equal(90, await db.Balance(user));
        Assert.Equal(2, await db.Charges(user));
    }

    [Fact]
    public async Task A_row_inserted_again_under_its_id_is_not_charged_again()
    {
        var user = await db.Account(100);
        var id = await db.Value<Guid>("insert into public.bots (user_id, name) values ($1, 'a') returning id", user);
        await db.Run("delete from public.bots where id = $1", id);
        await db.Run("insert into public.bots (id, user_id, name) values ($1, $2, 'a'), (gen_random_uuid(), $2, 'b')", id, user);
        Assert.Equal(90, await db.Balance(user));
    }

    [Fact]
    public async Task Twenty_thousand_rows_of_one_user_are_twenty_thousand_entries_and_one_wallet_update()
    {
        var user = await db.Account(50_000);
        await using var connection = await db.Source.OpenConnectionAsync(Cancel);
        await connection.Run("begin");
        var updates = await connection.Value<long>("select n_tup_upd from pg_stat_xact_user_tables where relid = 'credits.wallets'::regclass");
        await connection.Run("insert into public.bots (user_id, name) select $1, 'a' from generate_series(1, 20000)", user);
        // Linear means that the wallet is written a constant number of times, not once per row.
        Assert.InRange(await connection.Value<long>("select n_tup_upd from pg_stat_xact_user_tables where relid = 'credits.wallets'::regclass") - updates, 1, 3);
        Assert.Equal(10_000, await connection.Value<long>("select count(*) from credits.credit_usage_logs where user_id = $1", user));
        Assert.Equal(10_000, await connection.Value<long>("select count(*) from credits.uncharged_rows where user_id = $1", user));
        await connection.Run("commit");
        Assert.Equal(0, await db.Balance(user));
    }

    [Fact]
    public async Task Many_users_in_one_statement_are_each_charged_their_own()
    {
        var users = new List<Guid>();
        for (var i = 0; i < 20; i++)
            users.Add(await db.Account(10));
        await db.Run("insert into public.bots (user_id, name) select u, 'a' from unnest($1::uuid[]) u, generate_series(1, 3)", (object)users.ToArray());
        foreach (var user in users)
            Assert.Equal((0m, 2L), (await db.Balance(user), await db.Charges(user)));
        Assert.Equal(20, await db.Value<long>("select count(*) from credits.uncharged_rows where user_id = any ($1)", (object)users.ToArray()));
    }

    [Fact]
    public async Task An_unpriced_action_lists_the_row_and_a_later_price_settles_it()
    {
        var user = await db.Account(100);
        await db.Run("select credits.set_cost('test_gone', 3)");
        await db.Run("create table public.gone (id int primary key, user_id uuid not null)");
        await db.Run("select credits.attach_charge('public.gone', 'test_gone')");
        await db.Run("delete from credits.credit_costs where action_type = 'test_gone'");
        await db.Run("insert into public.gone values (1, $1)", user);
        Assert.Equal("unknown_action", await db.Value<string>("select code from credits.uncharged_rows where user_id = $1", user));
        Assert.Equal(0, (await db.Json("select credits.charge_uncharged($1)", user)).Number("rows_charged"));
        await db.Run("select credits.set_cost('test_gone', 4)");
        Assert.Equal(4, (await db.Json("select credits.charge_uncharged($1)", user)).GetProperty("deducted").Number("credits"));
        Assert.Equal("unknown_account", (await db.Json("select credits.charge_uncharged($1)", Guid.NewGuid())).Text("code"));
    }

    [Fact]
    public async Task A_deleted_price_leaves_its_policy_behind()
    {
        var user = await db.Account(100);
        await db.Run("select credits.set_cost('test_strict', 3, p_on_insufficient => 'reject')");
        await db.Run("create table public.strict (id int primary key, user_id uuid not null)");
        await db.Run("select credits.attach_charge('public.strict', 'test_strict')");
        await db.Run("delete from credits.credit_costs where action_type = 'test_strict'");
        await db.Fails("UC105", "insert into public.strict values (1, $1)", user);
        await db.Run("select credits.detach_charge('public.strict'); drop table public.strict");
    }

    [Fact]
    public async Task A_listed_row_that_no_charge_could_pay_does_not_keep_the_others_from_being_settled()
    {
        var user = await db.Account();
        await db.Run("select credits.set_cost('test_huge', 1)");
        await db.Run("create table public.huge (id int primary key, user_id uuid not null, n numeric not null)");
        await db.Run("select credits.attach_charge('public.huge', 'test_huge', p_quantity_column => 'n')");
        await db.Run("delete from credits.credit_costs where action_type = 'test_huge'");
        await db.Run("insert into public.huge values (1, $1, 1000000000), (2, $1, 1)", user);
        await db.Run("select credits.set_cost('test_huge', 5)");
        await db.Run("select credits.add_purchased_credits($1, 1000)", user);
        var settled = await db.Json("select credits.charge_uncharged($1)", user);
        Assert.Equal((1m, 1m, 5m), (settled.Number("rows_charged"), settled.Number("rows_left"), settled.GetProperty("deducted").Number("credits")));
    }

    [Fact]
    public async Task A_row_id_of_megabytes_is_refused_by_name()
    {
        var user = await db.Account(10);
        await db.Run("create table public.wide (id text primary key, user_id uuid not null)");
        await db.Run("select credits.attach_charge('public.wide', 'send_email')");
        await db.Fails("UC001", "insert into public.wide values (repeat('x', 1000), $1)", user);
        await db.Run("select credits.detach_charge('public.wide'); drop table public.wide");
    }

    [Theory]
    [InlineData("55P03")]
    [InlineData("40001")]
    [InlineData("40P01")]
    [InlineData("57014")]
    [InlineData("53100")]
    public async Task A_system_error_inside_the_trigger_fails_the_statement_and_never_leaves_a_free_row(string sqlState)
    {
        var user = await db.Account(100);
        await db.Run($"create function public.break() returns trigger language plpgsql as $$ begin raise exception 'broken' using errcode = '{sqlState}'; end $$");
        await db.Run("create trigger broken before insert on credits.credit_ledger for each row execute function public.break()");
        try
        {
            await db.Fails(sqlState, "insert into public.bots (user_id, name) values ($1, 'a')", user);
        }
        finally
        {
            await db.Run("drop trigger broken on credits.credit_ledger");
            await db.Run("drop function public.break()");
        }
        Assert.Equal(0, await db.Value<long>("select count(*) from public.bots where user_id = $1", user));
        Assert.Equal(100, await db.Balance(user));
    }

    [Fact]
    public async Task A_lock_timeout_while_waiting_for_the_wallet_fails_the_statement()
    {
        var user = await db.Account(100);
        await using var holder = await db.Source.OpenConnectionAsync(Cancel);
        await holder.Run("begin");
        await holder.Run("select credits.deduct_credits_for_action($1, 'send_email')", user);
        await using var waiter = await db.Source.OpenConnectionAsync(Cancel);
        await waiter.Run("set lock_timeout = '50ms'");
        var error = await Assert.ThrowsAsync<PostgresException>(() => waiter.Run("insert into public.bots (user_id, name) values ($1, 'a')", user));
        Assert.Equal("55P03", error.SqlState);
        await holder.Run("commit");
        Assert.Equal(0, await db.Value<long>("select count(*) from public.bots where user_id = $1", user));
    }
}

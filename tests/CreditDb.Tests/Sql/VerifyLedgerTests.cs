using Npgsql;

namespace CreditDb.Tests.Sql;

/// <summary>Each kind of damage, done by a superuser's hand, is named.</summary>
public sealed class VerifyLedgerTests(TestDatabase db) : IClassFixture<TestDatabase>
{
    [Theory]
    [InlineData("update credits.wallets set balance = balance + 1 where user_id = $1", "wallet balance against the ledger")]
    [InlineData("update credits.wallets set open_remaining = open_remaining - 1 where user_id = $1", "wallet balance against the grants less the debt")]
    [InlineData("update credits.wallets set entry_no = entry_no + 1 where user_id = $1", "newest entry number of the wallet")]
    [InlineData("update credits.wallets set last_entry_at = '2999-01-01' where user_id = $1", "time of the newest entry of the wallet")]
    [InlineData("update credits.wallets set debt = 1 where user_id = $1", "debt")]
    [InlineData("update credits.wallets set held = -1 where user_id = $1", "held, debt and open grant of the wallet")]
    [InlineData("delete from credits.credit_ledger where user_id = $1 and entry_no = 3", "entry number")]
    [InlineData("update credits.credit_ledger set amount = amount - 1 where user_id = $1 and entry_no = 2", "balance after entry 2")]
    [InlineData("update credits.credit_ledger set balance_after = balance_after + 1 where user_id = $1 and entry_no = 2", "balance after entry 2")]
    [InlineData("update credits.credit_ledger set allocations = '[]' where user_id = $1 and entry_no = 2", "allocations of entry 2")]
    [InlineData("update credits.credit_ledger set kind = 'gift' where user_id = $1 and entry_no = 2", "kind and price of entry 2")]
    [InlineData("update credits.credit_ledger set allocations = '[{\"grant\": 99, \"amount\": 5}]' where user_id = $1 and entry_no = 2", "what is left of grant 99")]
    [InlineData("update credits.stored_grants set amount = 0.5, remaining = 0.5 where user_id = $1 and grant_no = 4", "what is left of grant 4")]
    [InlineData("update credits.credit_ledger set key_hash = null where user_id = $1 and row_source = 'public.bots'", "row and hash of the key of entry 3")]
    [InlineData("update credits.credit_ledger set row_source = null, row_id = null where user_id = $1 and row_source = 'public.bots'", "row and hash of the key of entry 3")]
    [InlineData("update credits.credit_ledger set row_source = null where user_id = $1 and row_source = 'public.bots'", "row and hash of the key of entry 3")]
    [InlineData("update credits.credit_ledger set key_hash = 1 where user_id = $1 and entry_no = 2", "row and hash of the key of entry 2")]
    [InlineData("delete from credits.credit_ledger where user_id = $1 and entry_no = 5", "entry number")]
    [InlineData("update credits.charge_keys set entry_no = 50 where user_id = $1 and source = 'caller'", "entry of the key k of caller")]
    [InlineData("update credits.charge_keys set credit_type = 'none' where user_id = $1 and source = 'caller'", "entry of the key k of caller")]
    [InlineData("update credits.credit_ledger set unit_price = 99 where user_id = $1 and entry_no = 2", "amount of entry 2 against its price")]
    [InlineData("update credits.stored_grants set amount = 1000000 where user_id = $1 and grant_no = 4", "grant 4 against its entry")]
    [InlineData("update credits.stored_grants set source = 'trial' where user_id = $1 and grant_no = 4", "grant 4 against its entry")]
    [InlineData("update credits.stored_grants set expires_at = '2999-01-01' where user_id = $1 and grant_no = 4", "when the wallet is due next")]
    [InlineData("update credits.wallets set held = 5 where user_id = $1", "held by the wallet against the ledger")]
    [InlineData("update credits.credit_ledger set allocations = '{}' where user_id = $1 and entry_no = 2", "allocations of entry 2")]
    [InlineData("insert into credits.uncharged_rows select user_id, row_source, row_id, 'x', credit_type, 1, 1, null, 'x', 1, 0, now(), 1 from credits.credit_ledger where user_id = $1 and row_source = 'public.bots'", "row ")]
    [InlineData("update credits.chat_sessions set credits_used = 1 where user_id = $1", "credits used of chat session")]
    [InlineData("update credits.chat_sessions set charged_intervals = 3 where user_id = $1", "credits used of chat session")]
    [InlineData("update credits.chat_sessions set credits_owed = 2 where user_id = $1", "credits owed by chat session")]
    [InlineData("update credits.wallets set owed = 3 where user_id = $1", "owed by the wallet against its chat sessions")]
    [InlineData("delete from credits.chat_sessions where user_id = $1", "credits used of chat session")]
    [InlineData("update credits.accounts set total_minutes_used = 7 where user_id = $1", "minutes of charged calls")]
    [InlineData("update credits.usage_daily set amount = amount + 1 where user_id = $1 and action_type = 'create_agent'", "roll-up of create_agent")]
    [InlineData("update credits.usage_daily set refunded = 1 where user_id = $1 and action_type = 'create_agent'", "roll-up of create_agent")]
    [InlineData("delete from credits.usage_daily where user_id = $1", "roll-up of create_agent")]
    [InlineData("update credits.usage_rollups set entry_no = 3 where user_id = $1 and credit_type = 'credits'", "roll-up of create_agent")]
    [InlineData("update credits.usage_rollups set entry_no = 99 where user_id = $1 and credit_type = 'credits'", "last entry rolled up")]
    public async Task Names_the_damage(string damage, string problem)
    {
        db.BooksAreDamaged = true;
        var user = await db.Account(100);
        await db.Run("select credits.deduct_credits_for_action($1, 'create_agent')", user);
        await db.Run("insert into public.bots (user_id, name) values ($1, 'a')", user);
        await db.Run("select credits.grant_credits($1, 1, 'refund', p_idempotency_key => 'k')", user);
        await db.Run("select credits.deduct_credits_for_action($1, 'create_agent')", user);
        await db.Run("insert into public.calls (user_id, status, duration_seconds) values ($1, 'completed', 61)", user);
        await db.Run("select credits.record_chat_time($1, (credits.open_chat_session($1) ->> 'session_id')::uuid, 30)", user);
        await db.Run("select credits.roll_up_usage(p_limit => 100000)");
        Assert.Empty(await db.Column<string>("select problem from credits.verify_ledger($1)", user));
        await db.Run(damage, user);
        Assert.Contains(await db.Column<string>("select problem from credits.verify_ledger($1)", user), p => p.StartsWith(problem, StringComparison.Ordinal));
        Assert.Contains(await db.Column<string>("select problem from credits.verify_ledger() where user_id = $1", user), p => p.StartsWith(problem, StringComparison.Ordinal));
    }

    [Fact]
    public async Task The_order_of_times_is_proven_for_one_user_and_by_the_worker()
    {
        db.BooksAreDamaged = true;
        const string Problem = "time of entry 3 is before the one before it";
        var user = await db.Account(100);
        await db.Run("select credits.deduct_credits_for_action($1, 'create_agent') from generate_series(1, 3)", user);
        await db.Run("update credits.credit_ledger set created_at = '2001-01-01' where user_id = $1 and entry_no = 3", user);
        Assert.Equal([Problem], await db.Column<string>("select problem from credits.verify_ledger($1)", user));
        while (!(await db.Json("select credits.verify_next()")).GetProperty("is_done").GetBoolean())
        {
        }

        Assert.Equal([Problem], await db.Column<string>("select subject from credits.alerts where user_id = $1", user));
    }

    [Theory]
    [InlineData("update credits.credit_purchases set credits = 99 where user_id = $1", "grant of purchase")]
    [InlineData("update credits.credit_purchases set grant_no = 77 where user_id = $1", "grant of purchase")]
    [InlineData("update credits.credit_purchases set grant_no = 2 where user_id = $1", "grant of purchase")]
    [InlineData("update credits.credit_purchases set refunded_credits = 1 where user_id = $1", "credits taken back of purchase")]
    [InlineData("update credits.credit_ledger set related_entry_no = null where user_id = $1 and kind = 'debt'", "credits taken back of purchase")]
    [InlineData("update credits.credit_purchases set refunded_minor = 1 where user_id = $1", "refunds of purchase")]
    [InlineData("delete from credits.credit_purchase_refunds where user_id = $1 and not is_dispute", "refunds of purchase")]
    [InlineData("update credits.credit_purchase_refunds set reinstated_at = null where user_id = $1", "refunds of purchase")]
    public async Task Names_the_damage_to_a_purchase(string damage, string problem)
    {
        db.BooksAreDamaged = true;
        var user = await db.Account();
        var purchase = (await db.Json("select credits.create_purchase($1, 'starter', 'stripe')", user)).GetProperty("purchase_id").GetGuid();
        await db.Run("select credits.complete_purchase($1, $2, 'p' || $1)", user, purchase);
        await db.Run("select credits.deduct_credits_for_action($1, 'create_agent', 15)", user);
        await db.Run("select credits.refund_purchase($1, $2, 200, p_provider_reference => 'd', p_is_dispute => true)", user, purchase);
        await db.Run("select credits.refund_purchase($1, $2, 100)", user, purchase);
        await db.Run("select credits.reinstate_purchase($1, $2, 'd')", user, purchase);
        Assert.Empty(await db.Column<string>("select problem from credits.verify_ledger($1)", user));
        await db.Run(damage, user);
        Assert.Contains(await db.Column<string>("select problem from credits.verify_ledger($1)", user), p => p.StartsWith(problem, StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("update credits.payments set purchase_id = gen_random_uuid() where payer_id = $1", "payment pi_")]
    [InlineData("update credits.credit_purchases set provider_reference = 'x' where user_id = $1 and status = 'paid'", "payment pi_")]
    [InlineData("delete from credits.payments where payer_id = $1", "payment pi_")]
    [InlineData("update credits.payments set payer_id = null, purchase_id = null where payer_id = $1", "payment pi_")]
    [InlineData("update credits.payments set payer_id = gen_random_uuid() where payer_id = $1", "payment pi_")]
    [InlineData("update credits.credit_purchases set status = 'failed' where user_id = $1 and is_top_up", "automatic top-up under way")]
    [InlineData("update credits.top_ups set purchase_id = gen_random_uuid() where user_id = $1", "automatic top-up under way")]
    public async Task Names_the_damage_to_a_payment_or_a_top_up(string damage, string problem)
    {
        db.BooksAreDamaged = true;
        var user = await db.Account();
        var purchase = (await db.Json("select credits.create_purchase($1, 'starter', 'stripe')", user)).GetProperty("purchase_id").GetGuid();
        await db.Run("select credits.apply_payment_event('stripe', $3, 'completed', $1, $2, $3, 500, 'USD', p_customer_reference => 'c', p_payment_method => 'm')", user, purchase, "pi_" + purchase);
        await db.Run("select credits.set_top_up($1, 'stripe', true, 100, 'starter', 500)", user);
        await db.Run("select credits.begin_top_ups('stripe')");
        Assert.Empty(await db.Column<string>("select problem from credits.verify_ledger($1)", user));
        await db.Run(damage, user);
        Assert.Contains(await db.Column<string>("select problem from credits.verify_ledger($1)", user), p => p.StartsWith(problem, StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("update credits.usage_counters set used = used + 1 where user_id = $1")]
    [InlineData("delete from credits.usage_counters where user_id = $1")]
    [InlineData("update credits.usage_counters set period_no = period_no + 1 where user_id = $1")]
    [InlineData("insert into credits.usage_counters values ($1, 'script_generation', 'day', 7, 1)")]
    [InlineData("update credits.credit_ledger set counted_in = null where user_id = $1 and counted_in is not null")]
    [InlineData("update credits.credit_reservations set quantity = 0.5 where user_id = $1 and status = 'held'")]
    public async Task Names_the_damage_to_a_counter(string damage)
    {
        db.BooksAreDamaged = true;
        var user = Guid.NewGuid();
        await db.Run("select credits.open_account($1)", user);
        await db.Run("select credits.deduct_credits_for_action($1, 'script_generation', 0.4)", user);
        await db.Run("select credits.commit_reservation($1, (credits.reserve_credits($1, 'script_generation', 0.3) ->> 'reservation_id')::uuid, 0.5)", user);
        await db.Run("select credits.release_reservation($1, (credits.reserve_credits($1, 'script_generation') ->> 'reservation_id')::uuid)", user);
        await db.Run("select credits.reserve_credits($1, 'script_generation')", user);
        Assert.Equal(1.9m, await db.Value<decimal>("select used from credits.usage_counters where user_id = $1", user));
        Assert.Empty(await db.Column<string>("select problem from credits.verify_ledger($1)", user));
        await db.Run(damage, user);
        Assert.Contains(await db.Column<string>("select problem from credits.verify_ledger($1)", user), p => p.StartsWith("counter of script_generation", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("delete from credits.credit_ledger_archive where user_id = $1 and entry_no = 2", "entry number")]
    [InlineData("delete from credits.credit_ledger where user_id = $1 and kind = 'opening'", "opening entry against the archive")]
    [InlineData("delete from credits.credit_ledger_archive where user_id = $1", "opening entry against the archive")]
    [InlineData("update credits.credit_ledger set amount = amount + 1, balance_after = balance_after + 1 where user_id = $1 and kind = 'opening'", "opening entry against the archive")]
    [InlineData("update credits.credit_ledger set allocations = '[]' where user_id = $1 and kind = 'opening'", "grant 1 in the opening entry")]
    [InlineData("update credits.credit_ledger_archive set amount = amount - 1 where user_id = $1 and entry_no = 2", "balance after entry 2")]
    [InlineData("insert into credits.credit_ledger select * from credits.credit_ledger_archive where user_id = $1 and entry_no = 1", "entry number")]
    [InlineData("delete from credits.charge_keys where user_id = $1 and source = 'public.bots' and entry_no = 3", "key of entry 3")]
    [InlineData("update credits.credit_ledger l set row_source = 'public.bots', row_id = a.row_id, key_hash = credits.key_hash($1, a.row_id) from credits.credit_ledger_archive a where a.user_id = $1 and a.entry_no = 3 and l.user_id = $1 and l.kind = 'usage'", "row ")]
    [InlineData("update credits.charge_keys set entry_no = 2 where user_id = $1 and source = 'public.bots' and entry_no = 3", "entry of the key")]
    [InlineData("update credits.credit_ledger_archive set row_id = 'x' where user_id = $1 and entry_no = 3", "key of entry 3")]
    public async Task Names_the_damage_of_an_archive(string damage, string problem)
    {
        db.BooksAreDamaged = true;
        var user = await db.Account(100);
        await db.Run("insert into public.bots (user_id, name) select $1, 'a' from generate_series(1, 4)", user);
        await db.Run("select credits.deduct_credits_for_action($1, 'create_agent')", user);
        await db.Run("select credits.archive_ledger(credits.clock_now())");
        Assert.Empty(await db.Column<string>("select problem from credits.verify_ledger($1)", user));
        await db.Run(damage, user);
        Assert.Contains(await db.Column<string>("select problem from credits.verify_ledger($1)", user), p => p.StartsWith(problem, StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("update credits.credit_reservations set allocations = '[{\"grant\": 1, \"source\": \"trial\", \"amount\": 5}]' where user_id = $1 and status = 'held'", "hold of reservation")]
    [InlineData("update credits.credit_reservations set unit_price = 0 where user_id = $1 and status = 'held'", "hold of reservation")]
    [InlineData("update credits.credit_reservations set hold_entry_no = 1 where user_id = $1 and status = 'held'", "hold of reservation")]
    [InlineData("delete from credits.credit_reservations where user_id = $1 and status = 'committed'", "hold of reservation")]
    [InlineData("update credits.credit_reservations set status = 'held', amount = 0 where user_id = $1 and status = 'committed'", "hold of reservation")]
    [InlineData("update credits.wallets set next_due_at = 'infinity' where user_id = $1", "when the wallet is due next")]
    [InlineData("insert into credits.credit_refunds values ($1, 'credits', 3, 99, 1)", "amount of refund 99")]
    public async Task Names_the_damage_to_a_hold_or_a_refund(string damage, string problem)
    {
        db.BooksAreDamaged = true;
        var user = await db.Account(100);
        await db.Run("select credits.commit_reservation($1, (credits.reserve_credits($1, 'create_agent') ->> 'reservation_id')::uuid)", user);
        await db.Run("select credits.deduct_credits_for_action($1, 'create_agent')", user);
        await db.Run("select credits.refund_credits($1, 5, 2)", user);
        await db.Run("select credits.reserve_credits($1, 'create_agent')", user);
        Assert.Empty(await db.Column<string>("select problem from credits.verify_ledger($1)", user));
        await db.Run(damage, user);
        Assert.Contains(await db.Column<string>("select problem from credits.verify_ledger($1)", user), p => p.StartsWith(problem, StringComparison.Ordinal));
    }

    [Fact]
    public async Task Refuses_to_save_an_overdrawn_wallet()
    {
        var user = await db.Account(100);
        var thrown = await Assert.ThrowsAsync<PostgresException>(() => db.Run(
            "select credits.save_wallet(jsonb_populate_record(w, '{\"balance\": -0.000001}')) from credits.wallets w where w.user_id = $1 and w.credit_type = 'credits'",
            user));
        Assert.Equal("XX000", thrown.SqlState);
    }

    [Theory]
    [InlineData("credit_ledger")]
    [InlineData("credit_ledger_archive")]
    public async Task Sees_entries_of_nobody(string table)
    {
        db.BooksAreDamaged = true;
        await db.Account(1);
        var nobody = Guid.NewGuid();
        await db.Run($"insert into credits.{table} (user_id, credit_type, entry_no, created_at, kind, amount, balance_after, grant_no, allocations, session_role, metadata) select $1, credit_type, entry_no, created_at, kind, amount, balance_after, grant_no, allocations, session_role, metadata from credits.credit_ledger limit 1", nobody);
        Assert.Contains("entries without an account", await db.Column<string>("select problem from credits.verify_ledger() where user_id = $1", nobody));
    }

    [Theory]
    [InlineData("-balance_after")]
    [InlineData("balance_after * 10000")]
    [InlineData("0")]
    public async Task Sees_a_wrong_balance_whatever_its_sign_and_magnitude(string balance)
    {
        db.BooksAreDamaged = true;
        var user = await db.Account(100);
        await db.Run("select credits.set_cost('free_look', 0, 'Look', 'look')");
        await db.Run("select credits.deduct_credits_for_action($1, 'free_look') from generate_series(1, 3)", user);
        await db.Run($"update credits.credit_ledger set balance_after = {balance} where user_id = $1 and entry_no = 3", user);
        Assert.Equal(["balance after entry 3", "balance after entry 4"], await db.Column<string>("select problem from credits.verify_ledger() where user_id = $1 order by 1", user));
    }

    [Fact]
    public async Task Sees_wallets_of_nobody_below_and_above_all_accounts()
    {
        db.BooksAreDamaged = true;
        await db.Account(1);
        Guid[] nobody = [Guid.Empty, Guid.Parse("ffffffff-ffff-ffff-ffff-ffffffffffff")];
        foreach (var id in nobody)
            await db.Run("insert into credits.wallets (user_id, credit_type, is_active, last_entry_at) values ($1, 'credits', true, now())", id);
        Assert.Equal(nobody, await db.Column<Guid>("select user_id from credits.verify_ledger() where user_id in ($1, $2) order by 1", nobody[0], nobody[1]));
        await db.Run("delete from credits.wallets where user_id in ($1, $2)", nobody[0], nobody[1]);
    }

    [Fact]
    public async Task Accounts_that_are_opened_meanwhile_are_no_discrepancy()
    {
        using var done = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        var opened = new List<Guid>();
        var opening = Task.Run(async () =>
        {
            await using var connection = await db.Source.OpenConnectionAsync(TestContext.Current.CancellationToken);
            for (var n = 1; !done.IsCancellationRequested; n++)
            {
                opened.Add(Guid.Parse($"ffffffff-ffff-ffff-ffff-{n:x12}"));
                await connection.Run("select credits.open_account($1, 'free')", opened[^1]);
            }
        }, TestContext.Current.CancellationToken);
        var problems = new List<Guid>();
        for (var i = 0; i < 30; i++)
            problems.AddRange(await db.Column<Guid>("select user_id from credits.verify_ledger()"));
        await done.CancelAsync();
        await opening;
        Assert.Empty(problems.Intersect(opened));
    }

    [Fact]
    public async Task Reads_in_parallel_where_that_pays_and_finds_the_same()
    {
        db.BooksAreDamaged = true;
        Assert.Equal([], await db.Column<string>(
            """
            select p.proname from pg_proc p
            where p.pronamespace = 'credits'::regnamespace and p.proparallel = 'u'
              and exists (
                select from pg_proc v
                where v.oid = 'credits.verify_slice'::regproc and v.prosrc ~ ('credits\.' || p.proname || '\('))
            """));
        var user = await db.Account(100);
        await db.Run("insert into public.bots (user_id, name) values ($1, 'a')", user);
        await db.Run("insert into credits.uncharged_rows select user_id, row_source, row_id, 'x', credit_type, 1, 1, null, 'x', 1, 0, now(), 1 from credits.credit_ledger where user_id = $1 and row_source = 'public.bots'", user);
        await db.Run("update credits.wallets set balance = balance + 1 where user_id = $1 and credit_type = 'credits'", user);
        const string problems = "select problem || expected || actual from credits.verify_ledger() where user_id = $1 order by 1";
        var found = await db.Column<string>(problems, user);
        Assert.Equal(3, found.Count);
        await using var connection = await db.Source.OpenConnectionAsync(TestContext.Current.CancellationToken);
        await connection.Run("set parallel_setup_cost = 0");
        await connection.Run("set parallel_tuple_cost = 0");
        await connection.Run("set min_parallel_table_scan_size = 0");
        Assert.Equal(found, await connection.Column<string>(problems, user));
    }

    [Fact]
    public async Task Looks_at_every_account_when_there_are_thousands()
    {
        db.BooksAreDamaged = true;
        await db.Account(1);
        await db.Run(
            """
            insert into credits.accounts
            select (jsonb_populate_record(null::credits.accounts, a.fields || jsonb_build_object('user_id', gen_random_uuid(), 'total_minutes_used', 7777))).*
            from (select to_jsonb(a) as fields from credits.accounts a limit 1) a
            cross join generate_series(1, 50500)
            """);
        Assert.Equal("50500 50500", await db.Value<string>(
            "select count(*) || ' ' || count(distinct user_id) from credits.verify_ledger() where problem = 'minutes of charged calls' and actual = '7777'"));
        await db.Run("delete from credits.accounts where total_minutes_used = 7777");
    }
    [Fact]
    public async Task Looks_at_every_account_once_when_each_has_millions_of_entries()
    {
        db.BooksAreDamaged = true;
        for (var i = 0; i < 20; i++)
            await db.Account(12.5m);
        await db.Run("update credits.wallets set entry_no = 5000000 where balance = 12.5");
        Assert.Equal("20 20", await db.Value<string>(
            """
            select count(*) || ' ' || count(distinct v.user_id)
            from credits.verify_ledger() v
            join credits.wallets w on w.user_id = v.user_id and w.credit_type = v.credit_type
            where v.problem = 'newest entry number of the wallet' and w.balance = 12.5
            """));
    }
}

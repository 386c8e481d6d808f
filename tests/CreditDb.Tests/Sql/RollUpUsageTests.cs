namespace CreditDb.Tests.Sql;

/// <summary>roll_up_usage: every entry once, whoever else is at work, and nobody waits.</summary>
public sealed class RollUpUsageTests(TestDatabase db) : IClassFixture<TestDatabase>
{
    private const string Charge = "select credits.deduct_credits_for_action($1, $2)";

    [Fact]
    public async Task A_sweep_goes_page_by_page_through_all_accounts_and_takes_each_entry_once()
    {
        await Sweep(1000);
        var users = new[] { Guid.Empty, Guid.Parse("ffffffff-ffff-ffff-ffff-ffffffffffff"), Guid.NewGuid(), Guid.NewGuid(), Guid.NewGuid() };
        foreach (var user in users)
        {
            await db.Run("select credits.open_account($1)", user);
            await db.Run(Charge, user, "brag_doc");
            await db.Run(Charge, user, "chat_message");
        }
        var (entries, calls) = await Sweep(2);
        Assert.Equal(10, entries);
        Assert.Equal(await db.Value<long>("select count(*) / 2 + 1 from credits.accounts"), calls);
        Assert.Equal(0, (await Sweep(2)).Entries);
        Assert.Equal(10, await db.Value<decimal>("select sum(uses) from credits.usage_daily where user_id = any ($1)", users));
    }

    [Fact]
    public async Task An_idle_wallet_is_not_written()
    {
        var user = await db.Account(10);
        await db.Run(Charge, user, "brag_doc");
        await db.Run("select credits.roll_up_usage()");
        var before = await db.Value<string>("select string_agg(concat(r, r.xmin), ' ') from credits.usage_rollups r where user_id = $1", user);
        await db.Run("select credits.roll_up_usage()");
        Assert.Equal(before, await db.Value<string>("select string_agg(concat(r, r.xmin), ' ') from credits.usage_rollups r where user_id = $1", user));
    }

    [Fact]
    public async Task What_another_worker_has_locked_is_skipped_and_a_charge_waits_for_neither()
    {
        var (user, other) = (await db.Account(10), await db.Account(10));
        await db.Run("select credits.roll_up_usage()");
        await db.Run(Charge, user, "brag_doc");
        await db.Run(Charge, other, "brag_doc");
        await using var connection = await db.Source.OpenConnectionAsync(TestContext.Current.CancellationToken);
        await using (var transaction = await connection.BeginTransactionAsync(TestContext.Current.CancellationToken))
        {
            await connection.Run("select from credits.usage_rollups where user_id = $1 for update", user);
            await using (var impatient = await db.Source.OpenConnectionAsync(TestContext.Current.CancellationToken))
            {
                await impatient.Run("set lock_timeout = '1s'");
                Assert.Equal(1, (await impatient.Json("select credits.roll_up_usage()")).Number("entries"));
                await impatient.Run(Charge, user, "brag_doc");
            }
            await transaction.RollbackAsync(TestContext.Current.CancellationToken);
        }
        // And a worker in the middle of its sweep stops no charge.
        await using (var transaction = await connection.BeginTransactionAsync(TestContext.Current.CancellationToken))
        {
            Assert.Equal(2, (await connection.Json("select credits.roll_up_usage()")).Number("entries"));
            await using (var impatient = await db.Source.OpenConnectionAsync(TestContext.Current.CancellationToken))
            {
                await impatient.Run("set lock_timeout = '1s'");
                await impatient.Run(Charge, user, "brag_doc");
                Assert.Equal(6, (await impatient.Json("select credits.get_usage_stats($1)", user)).Number("used"));
            }
            await transaction.CommitAsync(TestContext.Current.CancellationToken);
        }
        Assert.Equal(6, (await db.Json("select credits.get_usage_stats($1)", user)).Number("used"));
    }

    [Fact]
    public async Task Eight_workers_among_eight_chargers_count_every_entry_once_and_every_answer_is_right()
    {
        await Sweep(1000);
        var users = new List<Guid>();
        for (var i = 0; i < 20; i++)
            users.Add(await db.Account(1000));
        var charging = Task.WhenAll(Enumerable.Range(0, 8).Select(async n =>
        {
            var random = new Random(n);
            await using var connection = await db.Source.OpenConnectionAsync(TestContext.Current.CancellationToken);
            for (var i = 0; i < 150; i++)
                await connection.Run(Charge, users[random.Next(20)], random.Next(2) == 0 ? "brag_doc" : "send_email");
        }));
        var counted = 0m;
        var working = Task.WhenAll(Enumerable.Range(0, 8).Select(async n =>
        {
            await using var connection = await db.Source.OpenConnectionAsync(TestContext.Current.CancellationToken);
            do
            {
                var entries = (await connection.Json("select credits.roll_up_usage()")).Number("entries");
                lock (users)
                    counted += entries;
            }
            while (!charging.IsCompleted);
        }));
        var reading = Task.Run(async () =>
        {
            await using var connection = await db.Source.OpenConnectionAsync(TestContext.Current.CancellationToken);
            while (!charging.IsCompleted)
                foreach (var user in users)
                    Assert.True(await connection.Value<bool>(
                        """
                        select (credits.get_usage_stats($1) ->> 'used')::numeric = coalesce(sum(amount_used), 0)
                          and (select coalesce(sum(monthly_uses), 0) from credits.get_feature_usage($1)) = count(*)
                        from credits.credit_usage_logs where user_id = $1
                        """, user));
        }, TestContext.Current.CancellationToken);
        await Task.WhenAll(charging, working, reading);
        counted += (await db.Json("select credits.roll_up_usage()")).Number("entries");
        Assert.Equal(1200, counted);
        Assert.Equal(1200, await db.Value<decimal>("select sum(uses) from credits.usage_daily where user_id = any ($1)", users.ToArray()));
        Assert.Empty(await db.Column<string>("select problem from credits.verify_ledger()"));
    }

    [Fact]
    public async Task Reading_costs_no_more_for_twenty_thousand_old_entries_rolled_up_or_not()
    {
        var user = await UsedFor("5 years", 20_000);
        await db.Run("analyze credits.credit_ledger");
        await db.Run("select credits.deduct_credits_for_action($1, 'brag_doc') from generate_series(1, 20)", user);
        Assert.InRange(await Read(user), 1, 4000);
        await db.Run("select credits.roll_up_usage()");
        await db.Run("analyze credits.usage_daily");
        await db.Run("select credits.deduct_credits_for_action($1, 'brag_doc') from generate_series(1, 20)", user);
        Assert.InRange(await Read(user), 1, 500);
    }

    [Fact]
    public async Task A_long_ledger_that_was_never_rolled_up_is_read_from_the_right_entry_on()
    {
        var user = await UsedFor("70 days", 10_000);
        await db.Run("update credits.accounts set period_anchor = now() - interval '80 days', time_zone = 'Asia/Tokyo' where user_id = $1", user);
        for (var i = 0; i < 2; i++)
        {
            Assert.True(await db.Value<bool>(
                """
                select (select sum(monthly_uses) from credits.get_feature_usage($1)) = count(*) filter (where (created_at at time zone 'Asia/Tokyo')::date > (now() at time zone 'Asia/Tokyo')::date - 30)
                  and (s ->> 'used')::numeric = sum(amount_used) filter (where created_at >= (s -> 'period' ->> 'start')::timestamptz)
                  and (s ->> 'used')::numeric > 2000
                from credits.credit_usage_logs cross join credits.get_usage_stats($1) s where user_id = $1 group by s
                """, user));
            await db.Run("select credits.roll_up_usage()");
        }
    }

    [Theory]
    [InlineData("0")]
    [InlineData("null")]
    [InlineData("100001")]
    public async Task A_limit_out_of_range_is_refused(string limit) => await db.Fails("UC001", $"select credits.roll_up_usage(null, {limit})");

    /// <summary>An account that has charged one credit again and again until now: written at once, with books that are right.</summary>
    private async Task<Guid> UsedFor(string interval, int entries)
    {
        var user = await db.Account(1_000_000);
        await db.Run($"update credits.accounts set period_anchor = now() - interval '{interval}' where user_id = $1", user);
        await db.Run($"update credits.credit_ledger set created_at = now() - interval '{interval}' where user_id = $1", user);
        await db.Run(
            $"""
            insert into credits.credit_ledger (user_id, credit_type, entry_no, created_at, kind, amount, balance_after, action_type, unit_price, quantity, grant_no, session_role, metadata)
            select $1, 'credits', n + 1, now() - interval '{interval}' + n * (interval '{interval}' / {entries}), 'usage', -1, 1000000 - n, 'weekly_report', 1, 1, 1, 'x', jsonb_build_object()
            from generate_series(1, {entries}) n
            """, user);
        await db.Run(
            $"update credits.wallets set balance = {1_000_000 - entries}, entry_no = {entries + 1}, last_entry_at = (select max(created_at) from credits.credit_ledger where user_id = $1), open_grant_no = null, open_remaining = null where user_id = $1 and credit_type = 'credits'", user);
        await db.Run($"update credits.stored_grants set remaining = {1_000_000 - entries} where user_id = $1", user);
        return user;
    }

    /// <summary>How many rows of the ledger and of the roll-ups the two reading functions touch.</summary>
    private async Task<long> Read(Guid user)
    {
        const string Touched =
            "select coalesce(sum(pg_stat_get_xact_tuples_returned(c) + pg_stat_get_xact_tuples_fetched(c)), 0)::bigint from unnest(array['credits.credit_ledger'::regclass, 'credits.usage_daily', 'credits.credit_ledger_pkey', 'credits.usage_daily_pkey']) c";
        await using var connection = await db.Source.OpenConnectionAsync(TestContext.Current.CancellationToken);
        await using var transaction = await connection.BeginTransactionAsync(TestContext.Current.CancellationToken);
        var before = await connection.Value<long>(Touched);
        Assert.True(await connection.Value<long>("select count(*) from credits.credit_usage_logs where user_id = $1", user) > 20000);
        var between = await connection.Value<long>(Touched);
        Assert.True(between - before >= 20000); // this does see what is read
        await connection.Run("select credits.get_usage_stats($1)", user);
        await connection.Run("select * from credits.get_feature_usage($1)", user);
        return await connection.Value<long>(Touched) - between;
    }

    private async Task<(decimal Entries, long Calls)> Sweep(int limit)
    {
        var (entries, calls) = (0m, 0L);
        Guid? after = null;
        do
        {
            var outcome = await db.Json("select credits.roll_up_usage($1, $2)", after, limit);
            entries += outcome.Number("entries");
            calls++;
            after = outcome.Text("last_user_id") is { Length: > 0 } last ? Guid.Parse(last) : null;
        }
        while (after is not null);
        return (entries, calls);
    }
}

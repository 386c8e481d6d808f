using Npgsql;

namespace CreditDb.Tests.Sql;

/// <summary>Old entries move out, and nothing but the ledger's size changes.</summary>
public sealed class ArchiveLedgerTests(TestDatabase db) : IClassFixture<TestDatabase>
{
    private const string Clock = "create or replace function credits.clock_now() returns timestamptz language sql volatile as 'select clock_timestamp()'";

    [Fact]
    public async Task What_is_archived_is_listed_refunded_replayed_and_proven_as_before()
    {
        var user = await Busy();
        var moment = await db.Value<DateTime>("select max(created_at) from credits.credit_ledger where user_id = $1", user);
        await db.Run("select credits.deduct_credits_for_action($1, 'create_agent')", user);
        var (balance, log, at) = (await Balances(user), await Log(user), await At(user, moment));

        var archived = await db.Json("select credits.archive_ledger($1::timestamptz + interval '1 microsecond')", moment);
        Assert.True(archived.Number("entries") >= 10);
        Assert.Equal("opening 1", await db.Value<string>("select string_agg(kind || ' ' || case when kind = 'opening' then '1' else amount::text end, ', ' order by entry_no) from credits.credit_ledger where user_id = $1 and credit_type = 'credits' and entry_no < (select entry_no from credits.wallets w where w.user_id = $1 and credit_type = 'credits')", user));
        Assert.Equal((balance, log, at), (await Balances(user), await Log(user), await At(user, moment)));
        Assert.Empty(await db.Column<string>("select problem from credits.verify_ledger($1)", user));
        Assert.Equal(await db.Value<decimal>("select balance from credits.wallets where user_id = $1 and credit_type = 'credits'", user),
            await db.Value<decimal>("select sum(amount) from credits.credit_ledger where user_id = $1 and credit_type = 'credits'", user));

        var before = await db.Snapshot(user);
        Assert.Equal(0, (await db.Json("select credits.archive_ledger($1::timestamptz + interval '1 microsecond')", moment)).Number("wallets"));
        Assert.Equal(before, await db.Snapshot(user));

        Assert.Equal(3, (await db.Json("select credits.refund_credits($1, 2)", user)).Number("credits_refunded"));
        Assert.Equal("already_settled", (await db.Json("select credits.refund_credits($1, 2)", user)).Text("code"));
        var replay = await db.Json("select credits.deduct_call_credits($1, 'bbbbbbbb-0000-0000-0000-000000000001', 61)", user);
        Assert.Equal((true, 2m), (replay.Flag("replayed"), replay.Number("credits_deducted")));
        Assert.True((await db.Json("select credits.deduct_credits_for_action($1, 'create_agent', p_idempotency_key => 'k')", user)).Flag("replayed"));
        Assert.Equal("ok", (await db.Json("select credits.rollback_reset($1, 'credits', (credits.get_credit_balance($1) ->> 'last_monthly_reset')::timestamptz, 'wrong')", user)).Text("code"));
        Assert.Empty(await db.Column<string>("select problem from credits.verify_ledger($1)", user));

        // A second time, over an opening entry.
        await db.Run("select credits.archive_ledger(credits.clock_now())");
        Assert.Equal(2, await db.Value<long>("select count(*) from credits.credit_ledger where user_id = $1 and credit_type = 'credits'", user));
        Assert.Equal(await db.Value<long>("select entry_no - 1 from credits.wallets where user_id = $1 and credit_type = 'credits'", user),
            await db.Value<long>("select count(*) from credits.credit_ledger_archive where user_id = $1 and credit_type = 'credits'", user));
        Assert.Empty(await db.Column<string>("select problem from credits.verify_ledger($1)", user));
        await db.Run("select credits.deduct_credits_for_action($1, 'send_email')", user);
    }

    [Fact]
    public async Task A_purchase_completed_again_says_the_same_after_its_entry_was_archived()
    {
        var user = await db.Account();
        var purchase = (await db.Json("select credits.create_purchase($1, 'starter', 'stripe')", user)).GetProperty("purchase_id").GetGuid();
        var completed = await db.Json("select credits.complete_purchase($1, $2, 'p')", user, purchase);
        for (var i = 0; i < 3; i++)
            await db.Run("select credits.deduct_credits_for_action($1, 'send_email')", user);
        await db.Run("select credits.archive_ledger(credits.clock_now())");
        var again = await db.Json("select credits.complete_purchase($1, $2, 'p')", user, purchase);
        Assert.Equal((true, completed.Number("balance_after")), (again.Flag("replayed"), again.Number("balance_after")));
    }

    [Fact]
    public async Task Only_what_is_older_moves_and_the_newest_entry_never()
    {
        await db.SetClock("2027-01-01 00:00+00");
        try
        {
            var (user, single) = (await db.Account(100), await db.Account(5));
            for (var day = 2; day <= 6; day++)
            {
                await db.SetClock($"2027-01-0{day} 00:00+00");
                await db.Run("select credits.deduct_credits_for_action($1, 'create_agent')", user);
            }
            await db.Run("select credits.archive_ledger('2027-01-01 00:00+00')");
            Assert.Equal(6, await db.Value<long>("select count(*) from credits.credit_ledger where user_id = $1", user));
            await db.Run("select credits.archive_ledger('2027-01-03 00:00+00')");
            Assert.Equal("2 opening 95.000000, 3 usage 90.000000, 4 usage 85.000000, 5 usage 80.000000, 6 usage 75.000000", await Ledger(user));
            await db.Run("select credits.archive_ledger('2027-01-06 00:00+00')");
            Assert.Equal("5 opening 80.000000, 6 usage 75.000000", await Ledger(user));
            var before = await db.Snapshot(user) + await db.Snapshot(single);
            await db.SetClock("2028-01-06 00:00+00");
            Assert.Equal(0, (await db.Json("select credits.archive_ledger('2028-01-06 00:00+00')")).Number("entries"));
            Assert.Equal(before, await db.Snapshot(user) + await db.Snapshot(single));
            Assert.Equal("95 2", await db.Value<string>("select r ->> 'balance' || ' ' || (r ->> 'entry_no') from credits.get_balance_at($1, '2027-01-02 12:00+00') r", user));
            Assert.Equal("80 5", await db.Value<string>("select r ->> 'balance' || ' ' || (r ->> 'entry_no') from credits.get_balance_at($1, '2027-01-05 12:00+00') r", user));
        }
        finally
        {
            await db.Run(Clock);
        }
    }

    [Fact]
    public async Task An_account_in_debt_and_one_at_nothing_prove_after_archiving()
    {
        await db.Run("update credits.plans set debt_limit = 100 where plan_id = 'paid'; update credits.credit_costs set on_insufficient = 'debt' where action_type = 'create_agent'");
        var (debtor, empty) = (await db.Account(7), await db.Account(10));
        await db.Run("insert into public.bots (user_id, name) select $1, 'a' from generate_series(1, 3)", debtor);
        await db.Run("insert into public.bots (user_id, name) select $1, 'a' from generate_series(1, 2)", empty);
        await db.Run("select credits.deduct_credits_for_action(u, 'send_email', 0.000001), credits.grant_credits(u, 1, 'trial') from unnest($1::uuid[]) u", new[] { debtor, empty });
        await db.Run("select credits.archive_ledger(credits.clock_now())");
        Assert.Equal(["-8.000000", "0.000000"], await db.Column<string>("select amount::text from credits.credit_ledger join unnest($1::uuid[]) with ordinality u (user_id, n) using (user_id) where kind = 'opening' order by n", new[] { debtor, empty }));
        await db.Run("select credits.add_purchased_credits(u, 20), credits.archive_ledger(credits.clock_now()) from unnest($1::uuid[]) u", new[] { debtor, empty });
        Assert.Equal((13m, 21m), (await db.Balance(debtor), await db.Balance(empty)));
        Assert.Empty(await db.Column<string>("select problem from credits.verify_ledger()"));
        await db.Run("update credits.credit_costs set on_insufficient = 'notify' where action_type = 'create_agent'");
    }

    [Fact]
    public async Task Erasing_reaches_the_archive()
    {
        var user = await Busy();
        await db.Run("select credits.archive_ledger(credits.clock_now())");
        Assert.Contains("ada@example", await db.Snapshot(user), StringComparison.Ordinal);
        await db.Run("select credits.erase_user_data($1)", user);
        Assert.DoesNotContain("ada@example", await db.Snapshot(user), StringComparison.Ordinal);
        Assert.Empty(await db.Column<string>("select problem from credits.verify_ledger($1)", user));
    }

    [Fact]
    public async Task Charges_refunds_and_archivers_race_and_the_books_prove_all_along()
    {
        var users = await Task.WhenAll(Enumerable.Range(0, 6).Select(_ => db.Account(1000)));
        using var done = new CancellationTokenSource();
        var archivers = Enumerable.Range(0, 3).Select(async _ =>
        {
            var entries = 0m;
            while (!done.IsCancellationRequested)
                entries += (await db.Json("select credits.archive_ledger(credits.clock_now(), 4)")).Number("entries");
            return entries;
        }).ToArray();
        var verifier = Task.Run(async () =>
        {
            while (!done.IsCancellationRequested)
                Assert.Empty(await db.Column<string>("select problem from credits.verify_ledger()"));
        }, TestContext.Current.CancellationToken);
        await Task.WhenAll(Enumerable.Range(0, 12).Select(async n =>
        {
            for (var turn = 0; turn < 15; turn++)
            {
                var log = await db.Value<long>("select (credits.deduct_credits_for_action($1, 'create_agent') ->> 'log_id')::bigint", users[n % 6]);
                if (turn % 3 == 0)
                    Assert.Equal("ok", (await db.Json("select credits.refund_credits($1, $2)", users[n % 6], log)).Text("code"));
            }
        }));
        await done.CancelAsync();
        Assert.True((await Task.WhenAll(archivers)).Sum() > 0);
        await verifier;
        foreach (var user in users)
            Assert.Equal((900m, 30L), (await db.Balance(user), await db.Charges(user)));
    }

    [Theory]
    [InlineData("null")]
    [InlineData("'infinity'")]
    [InlineData("now() + interval '1 hour'")]
    [InlineData("now(), 0")]
    [InlineData("now(), null")]
    public async Task Refuses_a_malformed_call(string arguments)
    {
        await db.Account(1);
        var error = await Assert.ThrowsAsync<PostgresException>(() => db.Run($"select credits.archive_ledger({arguments})"));
        Assert.Equal("UC001", error.SqlState);
    }

    private async Task<Guid> Busy()
    {
        var user = Guid.NewGuid();
        await db.Run("select credits.open_account($1)", user);
        await db.Run("""select credits.deduct_credits_for_action($1, 'create_agent', p_metadata => '{"to": "ada@example"}', p_idempotency_key => 'k')""", user);
        await db.Run("select credits.deduct_call_credits($1, 'bbbbbbbb-0000-0000-0000-000000000001', 61)", user);
        await db.Run("select credits.deduct_credits_for_action($1, 'script_generation')", user);
        await db.Run("insert into public.bots (user_id, name) values ($1, 'a')", user);
        await db.Run("select credits.add_purchased_credits($1, 10, 'ada@example')", user);
        await db.Run("select credits.refund_credits($1, 2, 2)", user);
        var hold = await db.Value<Guid>("select (credits.reserve_credits($1, 'create_agent', 2) ->> 'reservation_id')::uuid", user);
        await db.Run("select credits.reserve_credits($1, 'create_agent')", user);
        await db.Run("select credits.commit_reservation($1, $2, 1)", user, hold);
        return user;
    }

    private Task<string> Ledger(Guid user) =>
        db.Value<string>("select string_agg(concat_ws(' ', entry_no, kind, balance_after), ', ' order by entry_no) from credits.credit_ledger where user_id = $1", user);

    private Task<string> Log(Guid user) => db.Value<string>("select string_agg(l::text, E'\\n' order by credit_type, id) from credits.credit_usage_logs l where user_id = $1", user);

    private Task<string> Balances(Guid user) => db.Value<string>("select credits.get_credit_balance($1)::text || (select string_agg(g::text, ' ' order by grant_no) from credits.credit_grants g where user_id = $1)", user);

    private Task<string> At(Guid user, DateTime moment) => db.Value<string>("select credits.get_balance_at($1, $2)::text || (credits.get_balance_at($1, $2::timestamptz - interval '1 microsecond'))::text", user, moment);
}

using System.Data;
using System.Text.Json;
using Npgsql;

namespace CreditDb.Tests.Sql;

/// <summary>Real connections racing. Every lost race is a decline, a replay or a clean 40001, never a wrong number.</summary>
public sealed class ConcurrencyTests(TestDatabase db) : IClassFixture<TestDatabase>
{
    private const int Racers = 40;

    public static TheoryData<IsolationLevel> Levels => Racing.Levels;

    [Theory]
    [MemberData(nameof(Levels))]
    public async Task Forty_connections_race_for_credits_that_suffice_for_half(IsolationLevel level)
    {
        var user = await db.Account(5 * Racers / 2);
        var outcomes = await Race(level, connection => connection.Json("select credits.deduct_credits_for_action($1, 'create_agent')", user));
        Assert.Equal(Racers / 2, outcomes.Count(o => o.Text("code") == "ok"));
        Assert.Equal(Racers / 2, outcomes.Count(o => o.Text("code") == "insufficient_credits"));
        Assert.Equal(0, await db.Balance(user));
        Assert.Equal(Racers / 2, await db.Charges(user));
    }

    [Theory]
    [MemberData(nameof(Levels))]
    public async Task Forty_connections_race_for_one_key(IsolationLevel level)
    {
        var user = await db.Account(1000);
        var outcomes = await Race(level, connection =>
            connection.Json("select credits.deduct_credits_for_action($1, 'create_agent', p_idempotency_key => 'one')", user));
        Assert.All(outcomes, o => Assert.Equal("ok", o.Text("code")));
        Assert.Single(outcomes, o => !o.Flag("replayed"));
        Assert.Single(outcomes.Select(o => o.Text("log_id")).Distinct());
        Assert.Equal(995, await db.Balance(user));
    }

    [Theory]
    [MemberData(nameof(Levels))]
    public async Task Forty_connections_insert_rows_that_suffice_for_half(IsolationLevel level)
    {
        var user = await db.Account(5 * Racers / 2);
        await Race(level, async connection =>
        {
            await connection.Run("insert into public.bots (user_id, name) values ($1, 'a')", user);
            return default(JsonElement);
        });
        Assert.Equal((0m, (long)Racers / 2), (await db.Balance(user), await db.Charges(user)));
        Assert.Equal(Racers, await db.Value<long>("select count(*) from public.bots where user_id = $1", user));
        Assert.Equal(Racers / 2, await db.Value<long>("select count(*) from credits.uncharged_rows where user_id = $1", user));
        Assert.Equal(1, await db.Value<long>("select count(*) from credits.notifications where user_id = $1 and repeats = $2", user, Racers / 2));
    }

    [Theory]
    [MemberData(nameof(Levels))]
    public async Task A_row_and_explicit_calls_race_for_one_call(IsolationLevel level)
    {
        var user = await db.Account(1000);
        var call = await db.Value<Guid>("insert into public.calls (user_id, status) values ($1, 'in_progress') returning id", user);
        await Race(level, async (connection, i) =>
        {
            if (i % 2 == 0)
                await connection.Run("select credits.deduct_call_credits($1, $2, 90)", user, call);
            else
                await connection.Run("update public.calls set status = 'completed', duration_seconds = 90 where id = $1", call);
            return default(JsonElement);
        });
        Assert.Equal((998m, 1L), (await db.Balance(user), await db.Charges(user)));
        Assert.Equal(2, await db.Value<long>("select total_minutes_used from credits.accounts where user_id = $1", user));
    }

    [Theory]
    [MemberData(nameof(Levels))]
    public async Task Grants_and_charges_race_and_every_credit_is_accounted_for(IsolationLevel level)
    {
        var user = await db.Account(1);
        var outcomes = await Race(level, (connection, i) => i % 2 == 0
            ? connection.Json("select credits.grant_credits($1, 3, case when $2 % 4 = 0 then 'promotional' else 'purchased' end)", user, i)
            : connection.Json("select credits.deduct_credits_for_action($1, 'prompt_generation')", user));
        var used = outcomes.Where((o, i) => i % 2 == 1 && o.Flag("success")).Count() * 2;
        Assert.Equal(1 + 3 * Racers / 2 - used, await db.Balance(user));
    }

    [Fact]
    public async Task Bulk_inserts_over_the_same_users_in_opposite_orders_do_not_deadlock()
    {
        var users = new List<Guid>();
        for (var i = 0; i < 10; i++)
            users.Add(await db.Account(1000));
        await Task.WhenAll(Enumerable.Range(0, 20).Select(i => db.Run(
            "insert into public.bots (user_id, name) select u, 'a' from unnest($1::uuid[]) u",
            (object)(i % 2 == 0 ? users : Enumerable.Reverse(users)).ToArray())));
        foreach (var user in users)
            Assert.Equal(900, await db.Balance(user));
    }

    [Fact]
    public async Task A_deadlock_made_by_the_application_fails_one_side_and_leaves_no_free_row()
    {
        var (one, two) = (await db.Account(100), await db.Account(100));
        await using var first = await db.Source.OpenConnectionAsync(TestContext.Current.CancellationToken);
        await using var second = await db.Source.OpenConnectionAsync(TestContext.Current.CancellationToken);
        await first.Run("begin");
        await second.Run("begin");
        await first.Run("insert into public.bots (user_id, name) values ($1, 'first')", one);
        await second.Run("insert into public.bots (user_id, name) values ($1, 'second')", two);
        var crossing = new[]
        {
            Finish(first, "insert into public.bots (user_id, name) values ($1, 'first')", two),
            Finish(second, "insert into public.bots (user_id, name) values ($1, 'second')", one),
        };
        var states = await Task.WhenAll(crossing);
        Assert.Single(states, s => s == "40P01");
        Assert.Equal(2, await db.Value<long>("select count(*) from public.bots where user_id in ($1, $2)", one, two));
        Assert.Equal((95m, 95m), (await db.Balance(one), await db.Balance(two)));

        static async Task<string> Finish(NpgsqlConnection connection, string sql, Guid user)
        {
            try
            {
                await connection.Run(sql, user);
                await connection.Run("commit");
                return "";
            }
            catch (PostgresException e)
            {
                await connection.Run("rollback");
                return e.SqlState;
            }
        }
    }

    [Fact]
    public async Task A_repeatable_read_caller_who_comes_second_fails_with_40001_inside_the_trigger_and_leaves_no_row()
    {
        var user = await db.Account(5);
        await using var late = await db.Source.OpenConnectionAsync(TestContext.Current.CancellationToken);
        await late.Run("begin isolation level repeatable read");
        await late.Value<long>("select count(*) from public.bots");
        await db.Run("insert into public.bots (user_id, name) values ($1, 'early')", user);
        var error = await Assert.ThrowsAsync<PostgresException>(() => late.Run("insert into public.bots (user_id, name) values ($1, 'late')", user));
        Assert.Equal("40001", error.SqlState);
        await late.Run("rollback");
        Assert.Equal(["early"], await db.Column<string>("select name from public.bots where user_id = $1", user));
    }

    [Fact]
    public async Task A_decline_too_makes_a_repeatable_read_caller_retry()
    {
        var user = await db.Account(1);
        await using var late = await db.Source.OpenConnectionAsync(TestContext.Current.CancellationToken);
        await late.Run("begin isolation level repeatable read");
        await late.Value<long>("select count(*) from public.bots");
        await db.Run("select credits.deduct_credits_for_action($1, 'create_agent')", user);
        var error = await Assert.ThrowsAsync<PostgresException>(() => late.Run("select credits.deduct_credits_for_action($1, 'create_agent')", user));
        Assert.Equal("40001", error.SqlState);
    }

    [Fact]
    public async Task Suspending_at_repeatable_read_while_a_wallet_is_opened_fails_or_reaches_that_wallet()
    {
        var user = await db.Account();
        var tokens = await db.NewCreditType("tokens");
        await using var late = await db.Source.OpenConnectionAsync(TestContext.Current.CancellationToken);
        await late.Run("begin isolation level repeatable read");
        await late.Value<int>("select 1");
        await db.Run("select credits.grant_credits($1, 100, 'purchased', p_credit_type => $2)", user, tokens);
        var error = await Assert.ThrowsAsync<PostgresException>(() => late.Run("update credits.accounts set status = 'suspended' where user_id = $1", user));
        Assert.Equal("40001", error.SqlState);
    }

    /// <summary>Each operation is held up where it has begun with the first wallet, after another one was opened behind its back, which is charged then.</summary>
    [Theory]
    [InlineData("select credits.change_plan($1, 'pro')", true)]
    [InlineData("select credits.suspend_account($1, 'review')", true)]
    [InlineData("select credits.erase_user_data($1)", false)]
    public async Task A_wallet_that_is_opened_during_an_operation_on_all_wallets_loses_no_charge(string operation, bool isTold)
    {
        var user = Guid.NewGuid();
        await db.Run("select credits.open_account($1)", user);
        var zzz = await db.NewCreditType("zzz");
        await db.Run("select credits.reserve_credits($1, 'send_email', 1, '1 microsecond')", user);
        await db.Run("update credits.wallets set last_reset_at = told_reset_at + interval '1 microsecond' where user_id = $1 and credit_type = 'credits'", user);

        await using var first = await db.Source.OpenConnectionAsync(TestContext.Current.CancellationToken);
        await first.Run("begin");
        await first.Run("select from credits.wallets where user_id = $1 and credit_type = 'credits' for no key update", user);
        await using var second = await db.Source.OpenConnectionAsync(TestContext.Current.CancellationToken);
        await second.Run("begin");
        await second.Run(isTold
            ? "insert into credits.notifications (user_id, type, severity, credit_type, action_type, title, message, details, created_at, updated_at) "
                + "values ($1, 'reset', 'info', 'credits', '', '', '', '{}', now(), now())"
            : "select from credits.credit_reservations where user_id = $1 for update", user);
        await using var third = await db.Source.OpenConnectionAsync(TestContext.Current.CancellationToken);
        var running = third.Run(operation, user);
        await Waits(third, first);
        await db.Run("select credits.grant_credits($1, 10, 'purchased', p_credit_type => $2)", user, zzz);
        await first.Run("rollback");
        await Waits(third, second);
        var charged = db.Run("select credits.adjust_credits($1, -3, 'use', p_credit_type => $2)", user, zzz);
        await Task.WhenAny(charged, Task.Delay(500, TestContext.Current.CancellationToken));
        await second.Run("rollback");
        await Task.WhenAll(running, charged);
        Assert.Equal(7, await db.Balance(user, zzz));
        Assert.Equal(7m, await db.Value<decimal>("select sum(amount) from credits.credit_ledger where user_id = $1 and credit_type = $2", user, zzz));
    }

    [Fact]
    public async Task A_charge_that_waited_past_an_expiry_does_not_spend_what_expired()
    {
        var user = await db.Account();
        await db.Run("select credits.grant_credits($1, 100, 'promotional', clock_timestamp() + interval '1 second')", user);
        await db.Run("select credits.deduct_credits_for_action($1, 'send_email')", user);
        await using var holder = await db.Source.OpenConnectionAsync(TestContext.Current.CancellationToken);
        await holder.Run("begin");
        await holder.Run("select 1 from credits.wallets where user_id = $1 for no key update", user);
        var waiting = db.Json("select credits.deduct_credits_for_action($1, 'create_agent')", user);
        await holder.Run("select pg_sleep(1.5)");
        await holder.Run("commit");
        Assert.Equal("insufficient_credits", (await waiting).Text("code"));
    }

    [Fact]
    public async Task The_second_charge_waits_for_the_first_and_sees_what_it_left()
    {
        var user = await db.Account(8);
        await using var first = await db.Source.OpenConnectionAsync(TestContext.Current.CancellationToken);
        await first.Run("begin");
        await first.Run("select credits.deduct_credits_for_action($1, 'create_agent')", user);
        var second = db.Json("select credits.deduct_credits_for_action($1, 'create_agent')", user);
        await Eventually.TrueAsync(async () => await db.Value<long>("select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'") == 1, "nobody waits");
        await first.Run("commit");
        Assert.Equal("insufficient_credits", (await second).Text("code"));
    }

    [Fact]
    public async Task Verification_is_right_while_charges_go_on()
    {
        var users = new List<Guid>();
        for (var i = 0; i < 8; i++)
            users.Add(await db.Account(10_000));
        using var stop = new CancellationTokenSource();
        var load = users.Select(user => Task.Run(async () =>
        {
            for (var i = 0; !stop.IsCancellationRequested; i++)
            {
                await db.Run("select credits.deduct_credits_for_action($1, 'send_email', p_idempotency_key => $2)", user, Guid.NewGuid().ToString());
                if (i % 3 == 0)
                    await db.Run("select credits.grant_credits($1, 1, 'promotional', now() + interval '1 second')", user);
                if (i % 5 == 0)
                    await db.Run("insert into public.calls (user_id, status, duration_seconds) values ($1, 'completed', 70)", user);
            }
        })).ToList();
        try
        {
            for (var i = 0; i < 20; i++)
                Assert.Empty(await db.Column<string>("select problem || ' ' || expected || ' ' || actual from credits.verify_ledger()"));
        }
        finally
        {
            await stop.CancelAsync();
            await Task.WhenAll(load);
        }
    }

    private Task Waits(NpgsqlConnection waiter, NpgsqlConnection holder) =>
        Eventually.TrueAsync(() => db.Value<bool>("select $2 = any (pg_blocking_pids($1))", waiter.ProcessID, holder.ProcessID), "nobody waits");

    private Task<JsonElement[]> Race(IsolationLevel level, Func<NpgsqlConnection, Task<JsonElement>> work) => Race(level, (connection, _) => work(connection));

    /// <summary>Runs the work on as many connections at once, each in a transaction that is retried as a caller must: on 40001 and 40P01.</summary>
    private Task<JsonElement[]> Race(IsolationLevel level, Func<NpgsqlConnection, int, Task<JsonElement>> work) =>
        Task.WhenAll(Enumerable.Range(0, Racers).Select(async i =>
        {
            await using var connection = await db.Source.OpenConnectionAsync();
            while (true)
            {
                await using var transaction = await connection.BeginTransactionAsync(level);
                try
                {
                    var outcome = await work(connection, i);
                    await transaction.CommitAsync();
                    return outcome;
                }
                catch (PostgresException e) when (e.SqlState is PostgresErrorCodes.SerializationFailure or PostgresErrorCodes.DeadlockDetected)
                {
                    // Once more; disposing the transaction rolls it back, if its commit has not done so.
                }
            }
        }));
}

using System.Data;
using Npgsql;

namespace CreditDb.Tests.Sql;

/// <summary>Suspending, closing and erasing.</summary>
public sealed class AccountLifeTests(TestDatabase db) : IClassFixture<TestDatabase>
{
    [Fact]
    public async Task A_suspended_account_is_charged_nothing_until_it_is_reactivated()
    {
        var user = await db.Account(100);
        var suspended = await db.Json("select credits.suspend_account($1, 'chargeback')", user);
        Assert.Equal(("suspended", "active", true), (suspended.Text("status"), suspended.Text("previous_status"), suspended.Flag("changed")));
        Assert.Equal("account_suspended", (await db.Json("select credits.deduct_credits_for_action($1, 'create_agent')", user)).Text("code"));
        Assert.Equal("account_suspended", (await db.Json("select credits.reserve_credits($1, 'create_agent')", user)).Text("code"));
        await db.Run("insert into public.bots (user_id, name) values ($1, 'a')", user);
        Assert.Equal((100m, 0L), (await db.Balance(user), await db.Charges(user)));

        var before = await db.Snapshot(user);
        Assert.False((await db.Json("select credits.suspend_account($1, 'another reason')", user)).Flag("changed"));
        Assert.Equal(before, await db.Snapshot(user));

        Assert.True((await db.Json("select credits.reactivate_account($1)", user)).Flag("changed"));
        Assert.False((await db.Json("select credits.reactivate_account($1)", user)).Flag("changed"));
        Assert.True((await db.Json("select credits.deduct_credits_for_action($1, 'create_agent')", user)).Flag("success"));
        Assert.Equal(95, await db.Balance(user));
        Assert.Equal("active", await db.Value<string>("select concat_ws(' ', status, status_reason) from credits.accounts where user_id = $1", user));
    }

    [Fact]
    public async Task Closing_releases_the_holds_ends_the_renewal_and_is_final()
    {
        var user = Guid.NewGuid();
        await db.Run("select credits.open_account($1)", user);
        await db.Run("select credits.reserve_credits($1, 'create_agent', 2)", user);
        await db.Run("select credits.reserve_credits($1, 'send_email', 4)", user);
        var held = await db.Value<Guid>("select (credits.reserve_credits($1, 'chat_message', 3) ->> 'reservation_id')::uuid", user);
        Assert.Equal((88m, 17m), (await db.Balance(user), await db.Balance(user, "chat_messages")));

        var closed = await db.Json("select credits.close_account($1, 'asked to')", user);
        Assert.Equal(("closed", 3m), (closed.Text("status"), closed.Number("holds_released")));
        Assert.Equal((100m, 20m), (await db.Balance(user), await db.Balance(user, "chat_messages")));
        Assert.Equal("", (await db.Json("select credits.get_credit_balance($1)", user)).Text("next_monthly_reset"));
        Assert.Equal("account_suspended", (await db.Json("select credits.deduct_credits_for_action($1, 'create_agent')", user)).Text("code"));
        await db.Fails("UC312", "select credits.commit_reservation($1, $2)", user, held);

        var before = await db.Snapshot(user);
        var again = await db.Json("select credits.close_account($1)", user);
        Assert.Equal((false, 0m), (again.Flag("changed"), again.Number("holds_released")));
        var error = await db.Fails("UC340", "select credits.reactivate_account($1)", user);
        Assert.Contains("account_closed", error.Detail, StringComparison.Ordinal);
        await db.Fails("UC340", "select credits.suspend_account($1)", user);
        Assert.Equal(before, await db.Snapshot(user));
    }

    [Theory]
    [InlineData("suspend_account($1)")]
    [InlineData("reactivate_account($1)")]
    [InlineData("close_account($1)")]
    [InlineData("erase_user_data($1)")]
    public async Task Nobody_is_an_outcome_and_null_an_error(string call)
    {
        Assert.Equal("unknown_account", (await db.Json($"select credits.{call}", Guid.NewGuid())).Text("code"));
        Assert.Contains("p_user_id", (await db.Fails("UC001", $"select credits.{call.Replace("$1", "null", StringComparison.Ordinal)}")).Detail, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("suspend_account")]
    [InlineData("close_account")]
    public async Task A_reason_has_a_length(string function)
    {
        var user = await db.Account(1);
        var before = await db.Snapshot(user);
        await db.Fails("UC001", $"select credits.{function}($1, '')", user);
        await db.Fails("UC001", $"select credits.{function}($1, repeat('x', 256))", user);
        Assert.Equal(before, await db.Snapshot(user));
    }

    [Theory]
    [InlineData(IsolationLevel.ReadCommitted)]
    [InlineData(IsolationLevel.RepeatableRead)]
    public async Task Charges_holds_and_a_closing_race_and_nothing_stays_held(IsolationLevel level)
    {
        var user = await db.Account(1000);
        await Task.WhenAll(Enumerable.Range(0, 24).Select(n => Retrying(level, n switch
        {
            12 => "select credits.close_account($1)",
            _ when n % 2 == 0 => "select credits.deduct_credits_for_action($1, 'create_agent')",
            _ => "select credits.reserve_credits($1, 'create_agent')",
        }, user)));
        var charged = await db.Charges(user);
        Assert.Equal(1000 - 5 * charged, await db.Balance(user));
        Assert.Equal(0, await db.Value<long>("select count(*) from credits.credit_reservations where user_id = $1 and status = 'held'", user));
        Assert.Equal("account_suspended", (await db.Json("select credits.deduct_credits_for_action($1, 'create_agent')", user)).Text("code"));
    }

    [Fact]
    public async Task Suspending_and_reactivating_at_once_leave_account_and_wallets_agreeing()
    {
        var user = await db.Account(10);
        var types = new List<string>();
        for (var i = 0; i < 8; i++)
            types.Add(await db.NewCreditType("type"));
        await Task.WhenAll(Enumerable.Range(0, 24).Select(n => Retrying(IsolationLevel.ReadCommitted,
            (n % 3) switch { 0 => "select credits.suspend_account($1)", 1 => "select credits.reactivate_account($1)", _ => $"select credits.grant_credits($1, 1, 'promotional', p_credit_type => '{types[n / 3]}')" }, user)));
        Assert.Empty(await db.Column<string>("select problem from credits.verify_ledger($1)", user));
    }

    [Theory]
    [InlineData("suspend_account($1)")]
    [InlineData("close_account($1)")]
    [InlineData("erase_user_data($1)")]
    [InlineData("change_plan($1, 'pro')")]
    public async Task What_is_granted_to_a_wallet_that_was_just_opened_is_not_lost(string change)
    {
        var user = await db.Account(10);
        var gems = await db.NewCreditType("gems");
        await db.Run("create function public.pause() returns trigger language plpgsql as 'begin perform pg_advisory_xact_lock(4711); return new; end'");
        await db.Run("create trigger pause before update on credits.wallets for each row when (new.credit_type = 'credits') execute function public.pause()");
        try
        {
            // The change waits for the account, behind the opening of a wallet; then it pauses in the midst of the wallets.
            var cancel = TestContext.Current.CancellationToken;
            await using var pause = await db.Source.OpenConnectionAsync(cancel);
            await pause.Run("select pg_advisory_lock(4711)");
            await using var opener = await db.Source.OpenConnectionAsync(cancel);
            await using var opening = await opener.BeginTransactionAsync(cancel);
            await opener.Run("select credits.grant_credits($1, 10, 'promotional', p_credit_type => $2)", user, gems);
            var changing = db.Run($"select credits.{change}", user);
            await Eventually.TrueAsync(async () => await Waiting("transactionid") == 1, "the change does not wait for the account");
            await opening.CommitAsync(cancel);
            await Eventually.TrueAsync(async () => await Waiting("advisory") == 1, "the change does not pause");

            var granting = db.Run("select credits.grant_credits($1, 5, 'promotional', p_credit_type => $2)", user, gems);
            await Eventually.TrueAsync(async () => granting.IsCompleted || await Waiting("transactionid") == 1, "the grant neither waits nor is done");
            await pause.Run("select pg_advisory_unlock(4711)");
            await Task.WhenAll(changing, granting);
            Assert.Equal(15, await db.Balance(user, gems));
            Assert.Empty(await db.Column<string>("select problem from credits.verify_ledger($1)", user));
        }
        finally
        {
            await db.Run("drop trigger pause on credits.wallets");
            await db.Run("drop function public.pause()");
        }
    }

    [Fact]
    public async Task Erasing_blanks_what_callers_wrote_and_leaves_the_numbers()
    {
        var user = await db.Account(100);
        await Fill(user);
        var numbers = await Numbers(user);
        Assert.Contains("ada@example", await db.Snapshot(user), StringComparison.Ordinal);

        var erased = await db.Json("select credits.erase_user_data($1)", user);
        Assert.Equal("ok", erased.Text("code"));
        Assert.Equal((5m, 1m, 1m), (erased.Number("keys"), erased.Number("reservations"), erased.Number("imported")));
        Assert.Equal(numbers, await Numbers(user));
        var after = await db.Snapshot(user);
        Assert.DoesNotContain("ada@example", after, StringComparison.Ordinal);
        Assert.DoesNotContain("aaaaaaaa-0000-0000-0000-000000000001", after, StringComparison.Ordinal);
        Assert.Empty(await db.Column<string>("select problem from credits.verify_ledger($1)", user));

        var again = await db.Json("select credits.erase_user_data($1)", user);
        Assert.All(new[] { "entries", "keys", "notifications", "reservations", "imported" }, field => Assert.Equal(0, again.Number(field)));
        Assert.Equal(numbers, await Numbers(user));
    }

    [Fact]
    public async Task What_was_done_once_is_not_done_again_after_erasing()
    {
        var user = await db.Account(100);
        await Fill(user);
        await db.Run("select credits.erase_user_data($1)", user);
        var balance = await db.Balance(user);
        foreach (var call in Keyed)
        {
            var error = await db.Fails("UC202", call, user);
            Assert.Contains("key_erased", error.Detail, StringComparison.Ordinal);
        }
        Assert.True((await db.Json("select credits.deduct_call_credits($1, 'bbbbbbbb-0000-0000-0000-000000000001', 61)", user)).Flag("replayed"));
        Assert.Equal(0, (await db.Json("select credits.import_history($1, $2::jsonb)", user, History)).Number("imported"));
        Assert.Equal(balance, await db.Balance(user));
        // Another user's key of that name is another key, and so is a new one.
        Assert.True((await db.Json("select credits.deduct_credits_for_action($1, 'send_email', p_idempotency_key => 'key of ada@example')", await db.Account(5))).Flag("success"));
        Assert.True((await db.Json("select credits.deduct_credits_for_action($1, 'send_email', p_idempotency_key => 'new')", user)).Flag("success"));
    }

    [Fact]
    public async Task A_hold_is_committed_and_a_charge_refunded_after_erasing()
    {
        var user = await db.Account(100);
        var hold = await db.Value<Guid>("select (credits.reserve_credits($1, 'create_agent', p_metadata => '{\"a\": 1}') ->> 'reservation_id')::uuid", user);
        var log = await db.Value<long>("select (credits.deduct_credits_for_action($1, 'create_agent', p_reference_id => gen_random_uuid(), p_metadata => '{\"a\": 1}') ->> 'log_id')::bigint", user);
        await db.Run("select credits.erase_user_data($1)", user);
        Assert.True((await db.Json("select credits.commit_reservation($1, $2)", user, hold)).Flag("success"));
        await db.Run("select credits.erase_user_data($1)", user);
        Assert.True((await db.Json("select credits.commit_reservation($1, $2)", user, hold)).Flag("replayed"));
        Assert.True((await db.Json("select credits.refund_credits($1, $2)", user, log)).Flag("success"));
        Assert.Equal(95, await db.Balance(user));
    }

    [Theory]
    [InlineData(IsolationLevel.ReadCommitted)]
    [InlineData(IsolationLevel.RepeatableRead)]
    public async Task Charges_and_erasing_race(IsolationLevel level)
    {
        var user = await db.Account(1000);
        await Task.WhenAll(Enumerable.Range(0, 32).Select(n => Retrying(level, n % 4 == 3
            ? "select credits.erase_user_data($1)"
            : $$"""select credits.deduct_credits_for_action($1, 'create_agent', p_metadata => '{"name": "ada@example"}', p_idempotency_key => 'k{{n}}')""", user)));
        Assert.Equal((880m, 24L), (await db.Balance(user), await db.Charges(user)));
        await db.Run("select credits.erase_user_data($1)", user);
        Assert.DoesNotContain("ada@example", await db.Snapshot(user), StringComparison.Ordinal);
        foreach (var n in new[] { 0, 5, 10 })
            await db.Fails("UC202", $"select credits.deduct_credits_for_action($1, 'create_agent', p_idempotency_key => 'k{n}')", user);
        Assert.Equal(880, await db.Balance(user));
    }

    private Task<long> Waiting(string lockType) =>
        db.Value<long>("select count(*) from pg_locks l join pg_stat_activity a using (pid) where a.datname = current_database() and l.locktype = $1 and not l.granted", lockType);

    private const string History = """[{"id": "old 1", "action_type": "create_agent", "amount_used": 5, "created_at": "2024-01-01T00:00:00Z", "call_id": "aaaaaaaa-0000-0000-0000-000000000001", "metadata": {"to": "ada@example"}}]""";

    private static readonly string[] Keyed =
    [
        "select credits.deduct_credits_for_action($1, 'send_email', p_idempotency_key => 'key of ada@example')",
        "select credits.grant_credits($1, 3, 'promotional', p_reference => 'ada@example', p_idempotency_key => 'grant ada@example')",
        "select credits.adjust_credits($1, -1, 'ada@example', 'adjust ada@example')",
        "select credits.reserve_credits($1, 'create_agent', p_metadata => '{\"to\": \"ada@example\"}', p_idempotency_key => 'hold ada@example')",
        "select credits.refund_credits($1, 4, 0.1, 'ada@example', 'refund ada@example')",
    ];

    private async Task Fill(Guid user)
    {
        await db.Run("select set_config('credits.actor', 'ada@example', false), credits.deduct_credits_for_action($1, 'create_agent')", user);
        await db.Run("select set_config('credits.actor', '', false)");
        await db.Run("select credits.deduct_call_credits($1, 'bbbbbbbb-0000-0000-0000-000000000001', 61, '{\"to\": \"ada@example\"}')", user);
        await db.Run("select credits.deduct_credits_for_action($1, 'create_agent', 1, 'aaaaaaaa-0000-0000-0000-000000000001', '{\"to\": \"ada@example\"}')", user);
        foreach (var call in Keyed)
            Assert.True((await db.Json(call, user)).Flag("success"), call);
        await db.Run("insert into public.bots (user_id, name) values ($1, 'a')", user);
        await db.Run("select credits.deduct_credits_for_action($1, 'create_agent', 1000)", user);
        await db.Run("update credits.notifications set message = 'ada@example' where user_id = $1", user);
        await db.Run("select credits.suspend_account($1, 'ada@example asked'), credits.reactivate_account($1)", user);
        await db.Run("select credits.suspend_account($1, 'ada@example asked')", user);
        await db.Run("select credits.import_history($1, $2::jsonb)", user, History);
        await db.Run("update credits.accounts set status = 'active' where user_id = $1", user);
    }

    private Task<string> Numbers(Guid user) => db.Value<string>(
        """
        select concat_ws(E'\n',
          (select string_agg(concat_ws('|', entry_no, created_at, kind, amount, balance_after, action_type, unit_price, quantity, grant_no, allocations, row_source, row_id, related_entry_no, duration_seconds), E'\n' order by entry_no) from credits.credit_ledger where user_id = $1),
          (select string_agg(g::text, E'\n' order by grant_no) from credits.credit_grants g where user_id = $1),
          (select string_agg(concat_ws('|', import_no, legacy_id, amount_used, created_at), E'\n' order by import_no) from credits.imported_usage where user_id = $1),
          (select string_agg(concat_ws('|', source, key, entry_no), E'\n' order by source, key) from credits.charge_keys where user_id = $1 and source not in ('caller', 'erased')),
          credits.get_credit_balance($1)::text)
        """, user);

    private async Task Retrying(IsolationLevel level, string sql, Guid user)
    {
        while (true)
        {
            try
            {
                await using var connection = await db.Source.OpenConnectionAsync();
                await using var transaction = await connection.BeginTransactionAsync(level);
                await connection.Value<string>(sql, user);
                await transaction.CommitAsync();
                return;
            }
            catch (PostgresException e) when (e.SqlState is "40001" or "40P01")
            {
            }
        }
    }
}

using System.Text.Json;

namespace CreditDb.Tests.Sql;

/// <summary>get_changes and get_changed_users: what somebody who watches is shown.</summary>
public sealed class ChangesTests(TestDatabase db) : IClassFixture<TestDatabase>
{
    private const string Spend = "select credits.deduct_credits_for_action($1, 'prompt_formatting', $2)";

    [Fact]
    public async Task Malformed_arguments_and_unknown_users_are_named()
    {
        await db.Fails("UC001", "select credits.get_changes(null)");
        await db.Fails("UC001", "select credits.get_changes($1, null, 0)", Guid.NewGuid());
        await db.Fails("UC001", "select credits.get_changes($1, null, 1001)", Guid.NewGuid());
        await db.Fails("UC001", "select credits.get_changes($1, null, null)", Guid.NewGuid());
        Assert.Equal("unknown_account", (await db.Json("select credits.get_changes($1)", Guid.NewGuid())).Text("code"));
    }

    [Fact]
    public async Task Whatever_is_shown_moves_the_counter()
    {
        var user = Guid.NewGuid();
        await db.Run("select credits.open_account($1, 'free')", user);
        var id = Guid.NewGuid();
        await Moves("select credits.add_purchased_credits($1, 50)");
        await Moves("select credits.deduct_credits_for_action($1, 'create_agent')");
        await Moves("select credits.deduct_credits_for_action($1, 'create_agent', 1000)");
        await Moves("select credits.deduct_credits_for_action($1, 'create_agent', 1000)");
        await Moves("select credits.read_notifications($1)");
        await Stays("select credits.read_notifications($1)");
        await Moves("select credits.deduct_chat_message($1)");
        await Moves("select credits.set_threshold($1, 5)");
        await Moves("select credits.suspend_account($1, 'why')");
        await Moves("select credits.reactivate_account($1)");
        await Moves("select credits.change_plan($1, 'pro')");
        await Moves($"select credits.open_chat_session($1, '{id}', 0)");
        await db.Run("update credits.chat_sessions set started_at = started_at - interval '1 hour' where user_id = $1", user);
        await Moves($"select credits.record_chat_time($1, '{id}', 60)");
        await Moves("insert into public.calls (user_id, status, duration_seconds) values ($1, 'completed', 61)");
        await Moves("select credits.reserve_credits($1, 'create_agent', p_idempotency_key => 'hold')");
        await Moves("select credits.extend_reservation($1, (select reservation_id from credits.credit_reservations where user_id = $1), '1 hour')");
        await Moves("select credits.commit_reservation($1, (select reservation_id from credits.credit_reservations where user_id = $1))");
        await Moves("select credits.create_purchase($1, (select package_id from credits.credit_packages order by 1 limit 1), 'sandbox')");
        await Moves("select credits.complete_purchase($1, (select purchase_id from credits.credit_purchases where user_id = $1), 'p')");
        await Moves("select credits.refund_credits($1, 3)");
        await Moves("select credits.erase_user_data($1)");
        await Stays("select credits.get_credit_balance($1)");

        Task Moves(string sql) => Runs(sql, true);
        Task Stays(string sql) => Runs(sql, false);

        async Task Runs(string sql, bool moves)
        {
            var before = await ChangeNo(user);
            await db.Run(sql, user);
            var after = await ChangeNo(user);
            Assert.True(moves == after > before && after >= before, $"{sql}: {before}, then {after}");
            Assert.Equal(moves ? [user] : [], await db.Column<Guid>("select user_id from credits.get_changed_users(array[$1, gen_random_uuid()], array[$2, 0], array[null, null]::timestamptz[])", user, before));
        }
    }

    [Fact]
    public async Task A_notification_is_neither_missed_nor_shown_twice_whoever_commits_first()
    {
        // Somebody reads in between, again and again, while four others are declined, read and buy.
        var user = await db.Account(10);
        var seen = new List<(Guid Id, long ChangeNo)>();
        var position = Position(await db.Json("select credits.get_changes($1)", user));
        using var done = new CancellationTokenSource();
        var watching = WatchAsync();
        async Task WatchAsync()
        {
            for (var last = false; !last;)
            {
                last = done.IsCancellationRequested;
                var changes = await db.Json("select credits.get_changes($1, $2, 1000)", user, position);
                Assert.False(changes.Flag("is_snapshot"));
                foreach (var wallet in changes.GetProperty("wallets").EnumerateArray())
                    seen.AddRange(wallet.GetProperty("notifications").EnumerateArray().Select(n => (n.GetProperty("notification_id").GetGuid(), (long)n.Number("change_no"))));
                position = Position(changes);
            }
        }

        string[] work =
        [
            "select credits.deduct_credits_for_action($1, 'create_agent', 1000)", "select credits.deduct_credits_for_action($1, 'send_email', 1000)",
            "select credits.deduct_chat_message($1)", "select credits.read_notifications($1)",
        ];
        await Task.WhenAll(work.Select(async sql =>
        {
            await using var connection = await db.Source.OpenConnectionAsync();
            for (var i = 0; i < 60; i++)
                await connection.Run(sql, user);
        }));
        await done.CancelAsync();
        await watching;
        Assert.Equal(seen.Count, seen.Distinct().Count());
        Assert.Equal(
            await db.Column<string>("select notification_id || ' ' || change_no from credits.notifications where user_id = $1 order by 1", user),
            seen.GroupBy(n => n.Id).Select(n => $"{n.Key} {n.Max(s => s.ChangeNo)}").Order());
    }

    [Fact]
    public async Task A_page_that_is_not_the_last_has_no_news_of_the_balance_to_tell()
    {
        var user = await db.Account(100);
        for (var i = 0; i < 5; i++)
            await db.Run(Spend, user, 1m);
        var first = (await db.Json("select credits.get_changes($1, '{}', 4)", user)).GetProperty("wallets")[0];
        Assert.Equal((4, false), (first.GetProperty("entries").GetArrayLength(), first.Flag("is_complete")));
        var rest = (await db.Json("select credits.get_changes($1, '{\"credits\": {\"entry_no\": 4, \"change_no\": 0}}', 4)", user)).GetProperty("wallets")[0];
        Assert.Equal((2, true), (rest.GetProperty("entries").GetArrayLength(), rest.Flag("is_complete")));
    }

    [Fact]
    public async Task The_next_moment_is_found_also_where_what_was_due_has_not_been_applied()
    {
        var user = Guid.NewGuid();
        await db.SetClock("2026-01-15 12:00Z");
        await db.Run("select credits.open_account($1, 'free')", user);
        await db.Run("select credits.grant_credits($1, 7, 'promotional', '2026-01-20 00:00Z')", user);
        await db.Run("select credits.grant_credits($1, 8, 'promotional', '2026-02-20 00:00Z')", user);
        foreach (var (now, due, total) in new[]
        {
            ("2026-01-15 12:00Z", "2026-01-20T00:00:00+00:00", 115m), ("2026-01-20 00:00Z", "2026-02-15T12:00:00+00:00", 108),
            ("2026-02-15 12:00Z", "2026-02-20T00:00:00+00:00", 108), ("2026-02-20 00:00Z", "2026-03-15T12:00:00+00:00", 100),
        })
        {
            await db.SetClock(now);
            var changes = await db.Json("select credits.get_changes($1)", user);
            Assert.Equal((due, total), (changes.Text("due_at"), changes.GetProperty("wallets")[0].GetProperty("balance").Number("total")));
            Assert.Equal([false], await db.Column<bool>("select is_due from credits.get_changed_users(array[$1], array[null::bigint], array[$2::timestamptz])", user, due));
            await db.SetClock(due.Replace('T', ' '));
            Assert.Equal([true], await db.Column<bool>("select is_due from credits.get_changed_users(array[$1], array[null::bigint], array[$2::timestamptz])", user, due));
        }

        await db.SetClock("2027-01-01 00:00Z");
    }

    private Task<long> ChangeNo(Guid user) => db.Value<long>("select (credits.get_changes($1) ->> 'change_no')::bigint", user);

    private static string Position(JsonElement changes) => JsonSerializer.Serialize(changes.GetProperty("wallets").EnumerateArray().ToDictionary(
        w => w.Text("credit_type"),
        w => new { entry_no = w.GetProperty("balance").GetProperty("entry_no").GetInt64(), change_no = w.GetProperty("change_no").GetInt64(), told_no = w.GetProperty("change_no").GetInt64() }));
}

namespace CreditDb.Tests.Sql;

/// <summary>forget_keys, and the shared sweep of roll_up_next.</summary>
public sealed class ForgetKeysTests(TestDatabase db) : IClassFixture<TestDatabase>, IAsyncLifetime
{
    private const string Adjust = "select credits.adjust_credits($1, -0.1, 'a test', $2)";

    public async ValueTask InitializeAsync()
    {
        await db.SetClock("2026-03-01 12:00Z");
        await db.Run("update credits.worker_sweeps set after_user_id = null, since = null, began_at = null, ended_at = null");
        await db.Run("delete from credits.charge_keys where source = 'caller'");
    }

    public ValueTask DisposeAsync() => ValueTask.CompletedTask;

    [Fact]
    public async Task A_callers_key_goes_after_thirty_days_and_a_rows_identity_never()
    {
        var user = await db.Account(100);
        await db.Run(Adjust, user, "k");
        await db.Run("insert into public.calls (user_id, status, duration_seconds) values ($1, 'completed', 60)", user);
        await db.Run("update public.calls set id = gen_random_uuid() where user_id = $1", user);
        await db.SetClock("2026-03-31 12:59:59Z");
        await db.Run(Adjust, user, "young");
        Assert.Equal(0, (await db.Sweep("forget_keys")).Items);
        await db.SetClock("2026-03-31 13:00:01Z");
        Assert.Equal(1, (await db.Sweep("forget_keys")).Items);
        Assert.Equal(["caller", "calls"], await db.Column<string>("select split_part(source, '.', -1) from credits.charge_keys where user_id = $1 order by 1", user));
        Assert.True((await db.Json(Adjust, user, "young")).Flag("replayed"));
        Assert.False((await db.Json(Adjust, user, "k")).Flag("replayed"));
    }

    [Fact]
    public async Task What_erasing_left_of_a_key_goes_too()
    {
        var user = await db.Account(100);
        await db.Run(Adjust, user, "k");
        await db.Run("select credits.erase_user_data($1)", user);
        await db.SetClock("2026-04-02 12:00Z");
        Assert.Equal(1, (await db.Sweep("forget_keys")).Items);
        Assert.Equal(0, await db.Value<long>("select count(*) from credits.charge_keys where user_id = $1", user));
    }

    [Fact]
    public async Task A_key_that_is_just_taken_again_stays()
    {
        var user = await db.Account(100);
        await db.Run(Adjust, user, "k");
        await db.SetClock("2026-05-01 12:00Z");
        await using var connection = await db.Source.OpenConnectionAsync(TestContext.Current.CancellationToken);
        await using (var transaction = await connection.BeginTransactionAsync(TestContext.Current.CancellationToken))
        {
            Assert.False((await connection.Json(Adjust, user, "k")).Flag("replayed"));
            Assert.Equal(0, (await db.Sweep("forget_keys")).Items);
            await transaction.CommitAsync(TestContext.Current.CancellationToken);
        }
        Assert.Equal(0, (await db.Sweep("forget_keys")).Items);
        Assert.True((await db.Json(Adjust, user, "k")).Flag("replayed"));
    }

    [Fact]
    public async Task Eight_workers_among_eight_callers_forget_each_expired_key_once()
    {
        var users = new List<Guid>();
        for (var i = 0; i < 20; i++)
        {
            users.Add(await db.Account(100));
            for (var key = 0; key < 5; key++)
                await db.Run(Adjust, users[i], $"{key}");
        }
        await db.SetClock("2026-05-01 12:00Z");
        var calling = Task.WhenAll(Enumerable.Range(0, 8).Select(async n =>
        {
            for (var i = 0; i < 20; i++)
                await db.Run(Adjust, users[(i + n) % 20], "0");
        }));
        var forgotten = await db.SweepTogether("forget_keys", 3);
        await calling;
        forgotten += (await db.Sweep("forget_keys")).Items;
        // Key 0 was either forgotten and made anew, or taken again.
        Assert.InRange(forgotten, 80, 100);
        Assert.Equal(20, await db.Value<long>("select count(*) from credits.charge_keys where user_id = any ($1) and source = 'caller'", users.ToArray()));
        Assert.Equal(20 * 6, await db.Value<long>("select count(*) from credits.credit_ledger where user_id = any ($1) and kind = 'adjustment'", users.ToArray()));
    }

    [Fact]
    public async Task A_user_with_very_many_keys_takes_several_transactions()
    {
        var user = Guid.Empty;
        await db.Run("select credits.open_account($1)", user);
        await db.Run(
            """
            insert into credits.charge_keys (user_id, credit_type, source, key, function_name, created_at, expires_at)
            select $1, 'credits', 'caller', n::text, 'charge', timestamptz '2026-01-01Z', '2026-01-31Z' from generate_series(1, 20001) n
            """, user);
        var (items, slices) = await db.Sweep("forget_keys");
        Assert.Equal((20001, 10000), (items, slices[0].Number("items")));
        Assert.False(slices[0].Flag("is_done"));
        Assert.Equal(0, await db.Value<long>("select count(*) from credits.charge_keys where user_id = $1", user));
    }

    [Fact]
    public async Task Eight_workers_share_one_roll_up_which_begins_when_it_is_due()
    {
        await db.Sweep("roll_up_next");
        var users = new List<Guid>();
        for (var i = 0; i < 20; i++)
        {
            users.Add(await db.Account(100));
            await db.Run("select credits.deduct_credits_for_action($1, 'send_email')", users[i]);
        }
        Assert.Equal(0, (await db.Sweep("roll_up_next", every: "15 minutes")).Items);
        await db.SetClock("2026-03-02 12:00Z");
        Assert.Equal(20, await db.SweepTogether("roll_up_next", 2));
        Assert.Equal(20, await db.Value<decimal>("select sum(uses) from credits.usage_daily where user_id = any ($1)", users.ToArray()));
    }
}

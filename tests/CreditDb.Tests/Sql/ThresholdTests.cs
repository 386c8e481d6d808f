namespace CreditDb.Tests.Sql;

/// <summary>Running low, at a level that the user chose, and credits about to expire.</summary>
public sealed class ThresholdTests(TestDatabase db) : IClassFixture<TestDatabase>
{
    [Fact]
    public async Task A_fall_to_the_threshold_is_told_once_an_episode()
    {
        var user = await db.Account(30);
        var set = await db.Json("select credits.set_threshold($1, 20)", user);
        Assert.Equal((20m, "", 30m), (set.Number("threshold"), set.Text("previous_threshold"), set.Number("available")));
        Assert.Empty(await Told(user));
        await Charge(user);
        Assert.Empty(await Told(user));
        await Charge(user);
        Assert.Equal(["low_balance 1"], await Told(user));
        await Charge(user);
        Assert.Equal(["low_balance 1"], await Told(user));
        await db.Run("select credits.add_purchased_credits($1, 10)", user);
        await Charge(user);
        Assert.Equal(["low_balance 2"], await Told(user));
    }

    [Fact]
    public async Task What_is_below_a_new_threshold_already_is_told_at_once_and_once()
    {
        var user = await db.Account(30);
        await db.Run("select credits.set_threshold($1, 30)", user);
        Assert.Equal(["low_balance 1"], await Told(user));
        await db.Run("select credits.set_threshold($1, 30)", user);
        await db.Run("select credits.set_threshold($1, 50)", user);
        Assert.Equal(["low_balance 1"], await Told(user));
        await db.Run("select credits.set_threshold($1, 22)", user);
        await Charge(user);
        Assert.Equal(["low_balance 1"], await Told(user));
        await Charge(user);
        Assert.Equal(["low_balance 2"], await Told(user));
    }

    [Fact]
    public async Task Without_a_threshold_only_the_end_is_told()
    {
        var user = await db.Account(10);
        await db.Run("select credits.set_threshold($1, 6)", user);
        Assert.Equal("", (await db.Json("select credits.set_threshold($1, null)", user)).Text("threshold"));
        await Charge(user);
        Assert.Empty(await Told(user));
        await Charge(user);
        Assert.Equal(["exhausted 1"], await Told(user));
    }

    [Fact]
    public async Task A_threshold_is_the_wallets_own()
    {
        var user = Guid.NewGuid();
        await db.Run("select credits.open_account($1)", user);
        await db.Run("select credits.set_threshold($1, 19, 'chat_messages')", user);
        await db.Run("select credits.deduct_credits_for_action($1, 'create_agent', 18)", user);
        Assert.Empty(await Told(user));
        await db.Run("select credits.deduct_chat_message($1)", user);
        Assert.Equal(["low_balance 1"], await Told(user));
    }

    [Theory]
    [InlineData("0")]
    [InlineData("-1")]
    [InlineData("'NaN'")]
    [InlineData("'Infinity'")]
    [InlineData("0.0000001")]
    [InlineData("5, 'Bad Name'")]
    [InlineData("5, null")]
    public async Task Refuses_a_threshold_that_is_none(string arguments)
    {
        var user = await db.Account(10);
        var before = await db.Snapshot(user);
        await db.Fails("UC001", $"select credits.set_threshold($1, {arguments})", user);
        Assert.Equal(before, await db.Snapshot(user));
        await db.Fails("UC001", "select credits.set_threshold(null, 5)");
        Assert.Equal("unknown_account", (await db.Json("select credits.set_threshold($1, 5)", Guid.NewGuid())).Text("code"));
    }

    [Fact]
    public async Task Credits_about_to_expire_are_told_once_a_grant()
    {
        await db.SetClock("2032-05-01 12:00+00");
        try
        {
            var user = Guid.NewGuid();
            await db.Run("select credits.open_account($1)", user);
            await db.Run("select credits.grant_credits($1, 5, 'trial', '2032-05-03 12:00+00'), credits.grant_credits($1, 7, 'promotional', '2032-05-04 12:00+00'), credits.grant_credits($1, 9, 'promotional', '2032-05-04 12:00:01+00'), credits.add_purchased_credits($1, 3)", user);
            Assert.Equal(1, await db.Value<int>("select credits.notify_expiring()"));
            Assert.Equal("Some credits expire soon|12 credits expire, the first on 2032-05-03.|12",
                await db.Value<string>("select concat_ws('|', title, message, details ->> 'amount') from credits.notifications where user_id = $1 and type = 'expiring_soon'", user));
            Assert.Equal(0, await db.Value<int>("select credits.notify_expiring()"));

            // The open slice of a grant counts, and what is spent does not.
            await db.SetClock("2032-05-01 13:00+00");
            await db.Run("select credits.deduct_credits_for_action($1, 'create_agent', 20)", user);
            await db.Run("select credits.deduct_credits_for_action($1, 'create_agent')", user);
            await db.Run("select credits.deduct_credits_for_action($1, 'generate_template', 10)", user);
            Assert.Equal(1, await db.Value<int>("select credits.notify_expiring()"));
            Assert.Equal("6 2", await db.Value<string>("select details ->> 'amount' || ' ' || repeats from credits.notifications where user_id = $1 and type = 'expiring_soon'", user));
            await db.Run("select credits.grant_credits($1, 4, 'trial', '2032-05-01 18:00+00')", user);
            await db.Run("select credits.deduct_credits_for_action($1, 'generate_template', 10)", user);
            Assert.Equal(0, await db.Value<int>("select credits.notify_expiring('1 day')"));
        }
        finally
        {
            await db.Run("create or replace function credits.clock_now() returns timestamptz language sql volatile as 'select clock_timestamp()'");
        }
    }

    [Fact]
    public async Task Monthly_credits_purchased_ones_and_accounts_that_cannot_spend_are_told_nothing()
    {
        var (user, suspended) = (await db.Account(10), await db.Account(10));
        await db.Run("select credits.grant_credits($1, 5, 'monthly', now() + interval '1 day')", user);
        await db.Run("select credits.grant_credits($1, 5, 'trial', now() + interval '1 day'), credits.suspend_account($1)", suspended);
        await db.Run("select credits.notify_expiring()");
        Assert.Empty(await Told(user));
        Assert.Empty(await Told(suspended));
        await db.Run("select credits.reactivate_account($1), credits.notify_expiring()", suspended);
        Assert.Equal(["expiring_soon 1"], await Told(suspended));
    }

    [Fact]
    public async Task Eight_workers_share_the_telling()
    {
        var users = Enumerable.Range(0, 60).Select(_ => Guid.NewGuid()).ToArray();
        await db.Run("select credits.open_account(u, 'paid'), credits.grant_credits(u, 5, 'trial', now() + interval '1 day') from unnest($1::uuid[]) u", users);
        var told = await Task.WhenAll(Enumerable.Range(0, 8).Select(async _ =>
        {
            var sum = 0;
            for (var round = 0; round < 12; round++)
                sum += await db.Value<int>("select credits.notify_expiring(p_limit => 7)");
            return sum;
        }));
        Assert.True(told.Sum() >= 60);
        Assert.Equal("60 1", await db.Value<string>("select count(*) || ' ' || max(repeats) from credits.notifications where user_id = any ($1) and type = 'expiring_soon'", users));
    }

    [Theory]
    [InlineData("null")]
    [InlineData("'0'")]
    [InlineData("'-1 day'")]
    [InlineData("'400 days'")]
    [InlineData("'1 day', 0")]
    [InlineData("'1 day', null")]
    public async Task Refuses_a_malformed_call(string arguments) => await db.Fails("UC001", $"select credits.notify_expiring({arguments})");

    private Task<int> Charge(Guid user) => db.Run("select credits.deduct_credits_for_action($1, 'create_agent')", user);

    private Task<List<string>> Told(Guid user) =>
        db.Column<string>("select type || ' ' || repeats from credits.notifications where user_id = $1 order by 1", user);
}

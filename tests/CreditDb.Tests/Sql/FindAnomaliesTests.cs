namespace CreditDb.Tests.Sql;

/// <summary>find_anomalies: hours of far more usage, or declines, than an account's own.</summary>
public sealed class FindAnomaliesTests(TestServer server) : IAsyncLifetime
{
    // One for each test: the clock and the jobs are the whole database's.
    private readonly TestDatabase _db = new(server);

    public async ValueTask InitializeAsync()
    {
        await _db.InitializeAsync();
        await _db.Run("select credits.set_cost('unit', 1, 'Unit', 'each')");
    }

    public ValueTask DisposeAsync() => _db.DisposeAsync();

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task More_than_five_times_the_mean_of_the_seven_days_before_is_an_alert_rolled_up_or_not(bool isRolledUp)
    {
        await _db.SetClock("2026-01-01 00:00Z");
        var user = await _db.Account(100000);
        // Long ago, and no part of the mean.
        await Use(user, 5000);
        for (var day = 3; day < 10; day++)
        {
            await _db.SetClock($"2026-01-{day:00} 15:30Z");
            await Use(user, 24 * 25);
        }
        if (isRolledUp)
            await _db.Sweep("roll_up_next");
        // Earlier on the same day: neither in the mean nor in the hour.
        await _db.SetClock("2026-01-10 05:00Z");
        await Use(user, 90);
        await _db.SetClock("2026-01-10 10:00Z");
        await Use(user, 125);
        Assert.Equal(0, (await Find()).Raised);
        await Use(user, 0.5m);
        Assert.Equal(1, (await Find()).Raised);
        Assert.Equal(["high_usage 2026-01-10T10:00Z"], await _db.Alerts(user));
        Assert.Equal(["""{"hour": "2026-01-10T10:00:00+00:00", "used": 125.5, "hourly_mean": 25}"""],
            await _db.Column<string>("select details::text from credits.alerts where user_id = $1", user));
        await _db.Run("select credits.acknowledge_alert($1)", user);
    }

    [Fact]
    public async Task A_hundred_credits_an_hour_alarm_nobody_and_more_do_once_an_hour()
    {
        await _db.SetClock("2026-02-01 00:00Z");
        var user = await _db.Account(100000);
        await _db.SetClock("2026-02-20 10:10Z");
        await Use(user, 100);
        Assert.Equal(0, (await Find()).Raised);
        // Refunds do not make it undone.
        await _db.Run("select credits.refund_credits($1, 2)", user);
        await Use(user, 1);
        Assert.Equal(1, (await Find()).Raised);
        await Use(user, 50);
        Assert.Equal(0, (await Find()).Raised);
        Assert.Equal("151", await _db.Value<string>("select details ->> 'used' from credits.alerts where user_id = $1", user));

        // Once seen it is over, for this hour.
        Assert.Equal(1, (await _db.Json("select credits.acknowledge_alert($1, null, 'a load test')", user)).Number("acknowledged"));
        await Use(user, 50);
        Assert.Equal(0, (await Find()).Raised);
        Assert.Empty(await _db.Alerts(user));
        await _db.SetClock("2026-02-20 11:00Z");
        await Use(user, 101);
        Assert.Equal(1, (await Find()).Raised);
        Assert.Equal(["high_usage 2026-02-20T11:00Z"], await _db.Alerts(user));
    }

    [Fact]
    public async Task An_hour_that_ended_between_two_sweeps_is_seen_and_after_a_long_pause_the_last_day()
    {
        await _db.SetClock("2026-03-01 00:00Z");
        var user = await _db.Account(100000);
        await _db.SetClock("2026-03-20 10:55Z");
        Assert.Equal(0, (await Find()).Raised);
        await _db.SetClock("2026-03-20 10:58Z");
        await Use(user, 101);
        await _db.SetClock("2026-03-20 11:05Z");
        Assert.Equal(1, (await Find()).Raised);

        await _db.SetClock("2026-03-21 08:00Z");
        await Use(user, 102);
        await _db.SetClock("2026-03-21 20:00Z");
        await Use(user, 103);
        await _db.SetClock("2026-03-22 19:30Z");
        Assert.Equal(1, (await Find()).Raised);
        Assert.Equal(["high_usage 2026-03-20T10:00Z", "high_usage 2026-03-21T20:00Z"], await _db.Alerts(user));
    }

    [Fact]
    public async Task A_young_account_is_measured_by_the_days_it_has()
    {
        await _db.SetClock("2026-04-01 00:00Z");
        var user = await _db.Account(100000);
        await Use(user, 1000);
        await _db.SetClock("2026-04-02 23:00Z");
        await Use(user, 1400);
        await _db.SetClock("2026-04-03 10:00Z");
        // 2400 in 48 hours are 50 an hour.
        await Use(user, 250);
        Assert.Equal([], await Kinds());
        await Use(user, 1);
        Assert.Equal(["high_usage"], await Kinds());

        async Task<List<string>> Kinds()
        {
            await Find();
            return await _db.Column<string>("select kind from credits.alerts where user_id = $1 and subject = '2026-04-03T10:00Z'", user);
        }
    }

    [Fact]
    public async Task Only_wallets_with_entries_in_the_time_are_looked_at_however_many_entries_they_have()
    {
        await _db.SetClock("2026-05-01 00:00Z");
        var (busy, idle) = (await _db.Account(100000), await _db.Account(100000));
        for (var i = 0; i < 70; i++)
            await Use(busy, 1);
        await Use(idle, 90);
        await _db.SetClock("2026-05-20 10:00Z");
        Assert.Equal(0, (await Find()).Wallets);
        await _db.SetClock("2026-05-20 12:00Z");
        await _db.Run("select credits.deduct_credits_for_action($1, 'unit') from generate_series(1, 101)", busy);
        var found = await Find();
        Assert.Equal((1, 1), (found.Wallets, found.Raised));
        Assert.Equal("101", await _db.Value<string>("select details ->> 'used' from credits.alerts where user_id = $1", busy));
    }

    [Fact]
    public async Task More_than_twenty_declines_an_hour_and_five_times_the_mean_are_an_alert()
    {
        await _db.SetClock("2026-06-01 00:00Z");
        var (user, usual) = (await _db.Account(), await _db.Account());
        await _db.SetClock("2026-06-10 10:00Z");
        await Decline(user, 15);
        await _db.Run("insert into public.bots (user_id, name) select $1, 'b' from generate_series(1, 5)", user);
        Assert.Equal(0, (await Find()).Raised);
        await Decline(user, 1);
        Assert.Equal(1, (await Find()).Raised);
        await Decline(user, 5);
        Assert.Equal(0, (await Find()).Raised);
        Assert.Equal(["many_declines 2026-06-10T10:00Z"], await _db.Alerts(user));
        Assert.Equal("26", await _db.Value<string>("select details ->> 'declines' from credits.alerts where user_id = $1", user));

        // Who is declined 5 times an hour all week is not unusual with 25.
        await _db.SetClock("2026-06-10 11:00Z");
        await _db.Run("insert into credits.decline_counts select $1, 'credits', h, 5 from generate_series(timestamptz '2026-06-03 11:00Z', '2026-06-10 10:00Z', '1 hour') h", usual);
        await Decline(usual, 25);
        Assert.Equal(0, (await Find()).Raised);
        await Decline(usual, 1);
        Assert.Equal(1, (await Find()).Raised);

        // What is too old for the mean goes.
        await _db.SetClock("2026-06-18 20:00Z");
        await Find();
        Assert.Equal(0, await _db.Value<long>("select count(*) from credits.decline_counts"));
        await _db.Run("select credits.acknowledge_alert($1), credits.acknowledge_alert($2)", user, usual);
        Assert.Empty(await _db.Alerts(user));
    }

    [Fact]
    public async Task Eight_workers_look_at_each_wallet_once_and_raise_each_alert_once()
    {
        await _db.SetClock("2026-07-01 00:00Z");
        var users = new List<Guid>();
        for (var i = 0; i < 30; i++)
            users.Add(await _db.Account(1000));
        await _db.SetClock("2026-07-20 10:00Z");
        await _db.Run("select credits.deduct_credits_for_action(u, 'unit', 200) from unnest($1) u", users.ToArray());
        Assert.Equal(30, await _db.SweepTogether("find_anomalies", 2));
        Assert.Equal(30, await _db.Value<long>("select count(*) from credits.alerts where user_id = any ($1)", users.ToArray()));
    }

    [Fact]
    public async Task Eight_connections_decline_at_once_and_each_is_counted()
    {
        await _db.SetClock("2026-08-01 00:00Z");
        var user = await _db.Account();
        await Task.WhenAll(Enumerable.Range(0, 8).Select(_ => Decline(user, 10)));
        Assert.Equal(80, await _db.Value<long>("select declines from credits.decline_counts where user_id = $1", user));
    }

    private Task<int> Use(Guid user, decimal quantity) => _db.Run("select credits.deduct_credits_for_action($1, 'unit', $2)", user, quantity);

    private async Task Decline(Guid user, int times)
    {
        for (var i = 0; i < times; i++)
            Assert.Equal("insufficient_credits", (await _db.Json("select credits.deduct_credits_for_action($1, 'unit')", user)).Text("code"));
    }

    private async Task<(long Wallets, int Raised)> Find()
    {
        var (items, slices) = await _db.Sweep("find_anomalies", 2);
        return (items, (int)slices.Sum(s => s.Number("raised")));
    }
}

namespace CreditDb.Tests.Sql;

/// <summary>Expiry and renewal, on a stopped clock: due steps are applied by whatever writes next and projected by whatever reads.</summary>
public sealed class TimeTests(TestDatabase db) : IClassFixture<TestDatabase>
{
    private const string Send = "select credits.deduct_credits_for_action($1, 'send_email')";

    [Fact]
    public async Task A_grant_that_expired_cannot_be_spent_although_nothing_ran()
    {
        await db.SetClock("2026-01-10 00:00Z");
        var user = await db.Account();
        await db.Run("select credits.grant_credits($1, 10, 'promotional', '2026-01-20 00:00Z')", user);
        await db.Run(Send, user);
        await db.SetClock("2026-01-20 00:00Z");
        Assert.Equal(0, await db.Balance(user));
        Assert.Equal("insufficient_credits", (await db.Json(Send, user)).Text("code"));
        Assert.Equal("expiry -9.500000 0.000000 2026-01-20", await db.Value<string>(
            "select concat_ws(' ', kind, amount, balance_after, (created_at at time zone 'UTC')::date) from credits.credit_ledger where user_id = $1 order by entry_no desc limit 1", user));
    }

    [Fact]
    public async Task A_monthly_allowance_renews_on_the_day_of_the_anchor_without_drift()
    {
        await db.SetClock("2026-01-31 12:00Z");
        var user = Guid.NewGuid();
        await db.Run("select credits.open_account($1)", user);
        foreach (var (moment, next) in new[] { ("2026-02-28 12:00Z", "2026-03-31"), ("2026-03-31 12:00Z", "2026-04-30"), ("2026-04-30 12:00Z", "2026-05-31") })
        {
            await db.SetClock(moment);
            await db.Run(Send, user);
            var balance = await db.Json("select credits.get_credit_balance($1)", user);
            Assert.Equal(99.5m, balance.Number("monthly"));
            Assert.StartsWith(next, balance.Text("next_monthly_reset"), StringComparison.Ordinal);
        }
        Assert.Equal(["grant", "expiry", "grant", "usage", "expiry", "grant", "usage", "expiry", "grant", "usage"],
            await db.Column<string>("select kind from credits.credit_ledger where user_id = $1 and credit_type = 'credits' order by entry_no", user));
    }

    [Fact]
    public async Task Missed_periods_are_not_paid_in_arrears_and_reading_projects_what_writing_applies()
    {
        await db.SetClock("2026-01-15 00:00Z");
        var user = Guid.NewGuid();
        await db.Run("select credits.open_account($1)", user);
        await db.Run("select credits.add_purchased_credits($1, 7)", user);
        await db.SetClock("2026-06-20 00:00Z");
        var before = await db.Snapshot(user);
        var projected = await db.Json("select credits.get_credit_balance($1)", user);
        Assert.Equal(before, await db.Snapshot(user));
        Assert.Equal((107m, 100m, 7m), (projected.Number("total"), projected.Number("monthly"), projected.Number("purchased")));
        Assert.StartsWith("2026-06-15", projected.Text("last_monthly_reset"), StringComparison.Ordinal);
        await db.Run("select credits.grant_credits($1, 1, 'promotional')", user);
        var applied = await db.Json("select credits.get_credit_balance($1)", user);
        Assert.Equal((108m, projected.Number("entry_no") + 1), (applied.Number("total"), applied.Number("entry_no")));
        Assert.Equal(projected.Text("last_monthly_reset"), applied.Text("last_monthly_reset"));
    }

    [Fact]
    public async Task A_charge_at_the_very_instant_of_the_renewal_spends_the_new_allowance_once()
    {
        await db.SetClock("2026-01-15 00:00Z");
        var user = Guid.NewGuid();
        await db.Run("select credits.open_account($1)", user);
        await db.SetClock("2026-02-15 00:00Z");
        await Task.WhenAll(Enumerable.Range(0, 8).Select(_ => db.Run(Send, user)));
        Assert.Equal(96, await db.Balance(user));
        Assert.Equal(2, await db.Value<long>("select count(*) from credits.credit_grants where user_id = $1 and source = 'monthly'", user));
    }

    [Fact]
    public async Task A_row_charged_by_a_trigger_applies_what_is_due_too()
    {
        await db.SetClock("2026-01-15 00:00Z");
        var user = Guid.NewGuid();
        await db.Run("select credits.open_account($1)", user);
        await db.SetClock("2026-02-20 00:00Z");
        await db.Run("insert into public.bots (user_id, name) values ($1, 'a')", user);
        Assert.Equal(95, await db.Balance(user));
    }

    [Fact]
    public async Task Entry_times_do_not_decrease_when_a_clock_is_behind()
    {
        await db.SetClock("2026-05-02 00:00Z");
        var user = await db.Account(5);
        await db.SetClock("2026-05-01 00:00Z");
        await db.Run(Send, user);
        Assert.Equal(1, await db.Value<long>("select count(distinct created_at) from credits.credit_ledger where user_id = $1", user));
    }

    [Theory]
    [InlineData("2026-01-31 10:00Z", "UTC", 1, "2026-02-28 10:00Z")]
    [InlineData("2024-01-31 10:00Z", "UTC", 1, "2024-02-29 10:00Z")]
    [InlineData("2026-01-31 10:00Z", "UTC", 13, "2027-02-28 10:00Z")]
    [InlineData("2026-03-15 01:30Z", "Europe/Berlin", 1, "2026-04-15 00:30Z")]
    [InlineData("2026-10-15 00:30Z", "Europe/Berlin", 1, "2026-11-15 01:30Z")]
    public async Task Periods_are_counted_on_the_wall_clock_of_the_zone(string anchor, string zone, int number, string start)
    {
        Assert.True(await db.Value<bool>("select credits.period_start($1::timestamptz, $2, 'month', $3) = $4::timestamptz", anchor, zone, number, start));
        Assert.Equal(number, await db.Value<int>("select credits.period_number($1::timestamptz, $2, 'month', $3::timestamptz)", anchor, zone, start));
        Assert.Equal(number - 1, await db.Value<int>(
            "select credits.period_number($1::timestamptz, $2, 'month', $3::timestamptz - interval '1 microsecond')", anchor, zone, start));
    }
}

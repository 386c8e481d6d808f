using System.Globalization;
using System.Text.Json;
using Npgsql;

namespace CreditDb.Tests.Sql;

/// <summary>get_usage_stats and get_feature_usage on a stopped clock: the same answer however much of it has been rolled up.</summary>
public sealed class UsageStatsTests(TestDatabase db) : IClassFixture<TestDatabase>
{
    private const string Charge = "select credits.deduct_credits_for_action($1, $2)";

    [Fact]
    public async Task Stats_are_those_of_the_running_allowance_period_to_the_instant()
    {
        await db.SetClock("2026-01-31 12:00Z");
        var user = Guid.NewGuid();
        await db.Run("select credits.open_account($1)", user);
        await At("2026-02-10 09:00Z", user, "create_agent");
        await At("2026-02-28 11:59:59.999999Z", user, "send_email");
        await Both(user, s => Assert.Equal((5.5m, 100m, 94.5m, 5.5m), (s.Number("used"), s.Number("limit"), s.Number("remaining"), s.Number("percentage"))));
        await At("2026-02-28 12:00Z", user, "brag_doc");
        await At("2026-02-28 12:00Z", user, "brag_doc");
        await At("2026-02-28 12:00Z", user, "send_email");
        await Both(user, s =>
        {
            Assert.Equal((4.5m, 95.5m, 4.5m, "free"), (s.Number("used"), s.Number("remaining"), s.Number("percentage"), s.Text("account_level")));
            Assert.Equal(("2026-02-28T12:00:00+00:00", "2026-03-31T12:00:00+00:00", "month"),
                (s.GetProperty("period").Text("start"), s.GetProperty("period").Text("end"), s.GetProperty("period").Text("period")));
            Assert.Equal(["brag_doc|Brag Doc|2|2|4", "send_email|Send Email|1|1|0.5"], s.GetProperty("totals").EnumerateArray().Select(t =>
                string.Join('|', t.Text("action_type"), t.Text("action_name"), t.Text("uses"), t.Text("quantity"), t.Text("credits"))));
        });
        await db.SetClock("2026-03-31 12:00Z");
        await Both(user, s => Assert.Equal((0m, 100m, 0m, "[]"), (s.Number("used"), s.Number("remaining"), s.Number("percentage"), s.Text("totals"))));
    }

    [Fact]
    public async Task Without_a_renewed_allowance_there_is_no_limit_and_the_period_is_a_month_from_the_anchor()
    {
        await db.SetClock("2026-01-15 08:00Z");
        var user = await db.Account(50);
        await At("2026-02-20 08:00Z", user, "create_agent");
        await Both(user, s =>
        {
            Assert.Equal((5m, 45m, "", "", "paid"), (s.Number("used"), s.Number("remaining"), s.Text("limit"), s.Text("percentage"), s.Text("account_level")));
            Assert.Equal("2026-02-15T08:00:00+00:00", s.GetProperty("period").Text("start"));
        });
    }

    [Fact]
    public async Task Refunds_count_on_the_day_they_were_made_and_stats_never_fall_below_zero()
    {
        await db.SetClock("2026-01-15 08:00Z");
        var user = await db.Account(50);
        await At("2026-01-20 08:00Z", user, "create_agent");
        await At("2026-01-20 08:00Z", user, "create_agent");
        await db.Run("select credits.refund_credits($1, 2, 2.5)", user);
        await Both(user, s => Assert.Equal((7.5m, 42.5m), (s.Number("used"), s.Number("remaining"))));
        Assert.Equal(["create_agent|Create Agent|2|2|2|7.5|7.5|7.5|3.75"], await Features(user));
        await db.SetClock("2026-02-16 08:00Z");
        await db.Run("select credits.refund_credits($1, 3, 5)", user);
        await Both(user, s =>
        {
            Assert.Equal(0, s.Number("used"));
            Assert.Equal(-5, s.GetProperty("totals")[0].Number("credits"));
        });
        Assert.Equal(["create_agent|Create Agent|0|0|2|-5|-5|2.5|1.25"], await Features(user));
    }

    [Fact]
    public async Task Features_are_counted_by_the_days_of_the_accounts_zone()
    {
        await db.SetClock("2026-01-01 00:00Z");
        var user = Guid.NewGuid();
        await db.Run("select credits.open_account($1, 'pro', 'Asia/Tokyo')", user);
        await At("2026-03-01 14:59:59Z", user, "create_agent"); // 30 days ago on the last of March, in Tokyo: just too old
        await At("2026-03-01 15:00Z", user, "create_agent");
        await At("2026-03-24 14:59Z", user, "brag_doc"); // the 24th
        await At("2026-03-24 15:00Z", user, "brag_doc"); // the 25th, the first of the last 7 days
        await At("2026-03-30 14:59Z", user, "brag_doc");
        await At("2026-03-30 15:00Z", user, "brag_doc"); // today
        await db.Run("select credits.deduct_credits_for_action($1, 'brag_doc', 2.5)", user);
        string[] expected = ["brag_doc|Brag Doc|2|4|5|7|11|13|2.6", "create_agent|Create Agent|0|0|1|0|0|5|5"];
        Assert.Equal(expected, await Features(user));
        await db.Run("select credits.roll_up_usage()");
        Assert.Equal(expected, await Features(user));
        await db.SetClock("2026-03-31 14:59:59Z");
        Assert.Equal(expected, await Features(user));
        await db.SetClock("2026-03-31 15:00Z");
        Assert.Equal(["brag_doc|Brag Doc|0|3|5|0|9|13|2.6"], await Features(user));
        Assert.Equal(["create_agent|Create Agent|0|0|0|0|0|0|"], await Features(user, "create_agent"));
        Assert.Equal(["brag_doc|Brag Doc|0|3|5|0|9|13|2.6"], await Features(user, "brag_doc"));
        Assert.Empty(await Features(user, "no_such_thing"));
    }

    [Fact]
    public async Task Chat_messages_are_a_feature_too_but_no_credits()
    {
        await db.SetClock("2026-01-01 00:00Z");
        var user = Guid.NewGuid();
        await db.Run("select credits.open_account($1)", user);
        await db.Run(Charge, user, "chat_message");
        await Both(user, s => Assert.Equal((0m, "[]"), (s.Number("used"), s.Text("totals"))));
        Assert.Equal("1", (await Features(user)).Single(f => f.StartsWith("chat_message|", StringComparison.Ordinal)).Split('|')[4]);
    }

    [Fact]
    public async Task Nobody_is_an_outcome_or_no_row_and_bad_arguments_are_named()
    {
        Assert.Equal("unknown_account", (await db.Json("select credits.get_usage_stats($1)", Guid.NewGuid())).Text("code"));
        Assert.Empty(await Features(Guid.NewGuid(), "brag_doc"));
        await db.Fails("UC001", "select credits.get_usage_stats(null)");
        await db.Fails("UC001", "select * from credits.get_feature_usage(null)");
        await db.Fails("UC001", "select * from credits.get_feature_usage(gen_random_uuid(), '')");
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public async Task What_was_rolled_up_and_when_changes_no_answer(int seed)
    {
        var random = new Random(seed);
        await db.Run("insert into credits.plans (plan_id, plan_name) values ('daily', 'Daily') on conflict do nothing");
        await db.Run("insert into credits.plan_allowances values ('daily', 'credits', 500, 'day') on conflict do nothing");
        string[] zones = ["Europe/Berlin", "Australia/Lord_Howe", "America/St_Johns"];
        string[] plans = ["free", "pro", "daily", "paid"];
        string[] actions = ["create_agent", "send_email", "brag_doc", "chat_message"];
        // Around the changes of the clocks in spring, with an anchor in the hour that is left out.
        var now = new DateTime(2026, random.Next(1, 12), random.Next(1, 28), random.Next(24), 30, 0, DateTimeKind.Utc);
        await Clock();
        Guid rolled = Guid.NewGuid(), plain = Guid.NewGuid();
        foreach (var user in new[] { rolled, plain })
        {
            await db.Run("select credits.open_account($1, $2, $3)", user, plans[seed % 4], zones[seed - 1]);
            await db.Run("select credits.add_purchased_credits($1, 10000)", user);
        }
        for (var i = 0; i < 120; i++)
        {
            now = now.AddMinutes(random.Next(5) switch { 0 => 0, 1 => 30, 2 => random.Next(600), 3 => random.Next(3000), _ => random.Next(10000) });
            await Clock();
            var (what, action, plan, amount) = (random.Next(10), actions[random.Next(4)], plans[random.Next(4)], random.Next(1, 9) / 4m);
            foreach (var user in new[] { rolled, plain })
            {
                if (what == 0)
                    await db.Run("update credits.accounts set plan_id = $2 where user_id = $1", user, plan);
                else if (what == 1)
                    await db.Run(
                        """
                        select credits.refund_credits($1, max(id), $3) from credits.credit_usage_logs
                        where user_id = $1 and credit_type = 'credits' and action_type = $2 having count(*) > 0
                        """, user, action, amount);
                else
                    await db.Run("select credits.deduct_credits_for_action($1, $2, $3)", user, action, amount * 4);
            }
            if (random.Next(4) == 0)
            {
                await db.Run("select credits.roll_up_usage()");
                await db.Run("delete from credits.usage_daily where user_id = $1", plain);
                await db.Run("delete from credits.usage_rollups where user_id = $1", plain);
            }
            var (one, other) = (await Stats(rolled), await Stats(plain));
            Assert.Equal(other.ToString().Replace(plain.ToString(), "", StringComparison.Ordinal), one.ToString().Replace(rolled.ToString(), "", StringComparison.Ordinal));
            Assert.Equal(await Features(plain), await Features(rolled));
            // And both are what the whole ledger says.
            Assert.Equal(
                await db.Value<decimal>("select greatest(coalesce(-sum(amount), 0), 0) from credits.credit_ledger where user_id = $1 and credit_type = 'credits' and kind in ('usage', 'refund') and created_at >= $2 and created_at < $3",
                    rolled, one.GetProperty("period").Text("start"), one.GetProperty("period").Text("end")),
                one.Number("used"));
            Assert.Equal(
                await db.Column<string>(
                    """
                    select concat_ws(' ', action_type, count(*) filter (where kind = 'usage'), trim_scale(-sum(amount)))
                    from credits.credit_ledger join credits.accounts using (user_id)
                    where user_id = $1 and kind in ('usage', 'refund') and (credit_ledger.created_at at time zone time_zone)::date > (credits.clock_now() at time zone time_zone)::date - 30
                    group by action_type order by action_type
                    """, rolled),
                (await Features(rolled)).Select(f => f.Split('|')).Select(f => $"{f[0]} {f[4]} {f[7]}"));
        }
        Assert.True(await db.Value<long>("select count(*) from credits.usage_daily where user_id = $1", rolled) > 20);

        Task Clock() => db.SetClock(now.ToString("yyyy-MM-dd HH:mm:ss'Z'", CultureInfo.InvariantCulture));
    }

    [Fact]
    public async Task A_person_sees_own_use_and_no_other()
    {
        await db.SetClock("2026-01-01 00:00Z");
        var (me, other) = (await db.Account(10), await db.Account(10));
        await db.Run(Charge, me, "brag_doc");
        await db.Run(Charge, other, "brag_doc");
        await db.Run("select credits.roll_up_usage()");
        await db.Run(Charge, me, "brag_doc");
        await using var connection = new NpgsqlConnection(new NpgsqlConnectionStringBuilder(db.ConnectionString) { Pooling = false }.ConnectionString);
        await connection.OpenAsync(TestContext.Current.CancellationToken);
        await connection.Run($"set session authorization creditdb_user; set credits.user_id = '{me}'");
        Assert.Equal(4, (await connection.Json("select credits.get_usage_stats($1)", me)).Number("used"));
        Assert.Equal(2, await connection.Value<long>("select monthly_uses from credits.get_feature_usage($1)", me));
        Assert.Equal("unknown_account", (await connection.Json("select credits.get_usage_stats($1)", other)).Text("code"));
        Assert.Equal(0, await connection.Value<long>("select count(*) from credits.get_feature_usage($1)", other));
        Assert.Equal("42501", (await Assert.ThrowsAsync<PostgresException>(() => connection.Run("select credits.roll_up_usage()"))).SqlState);
    }

    private async Task At(string moment, Guid user, string action)
    {
        await db.SetClock(moment);
        Assert.True((await db.Json(Charge, user, action)).Flag("success"));
    }

    /// <summary>Checks the stats, rolls up, and checks again.</summary>
    private async Task Both(Guid user, Action<JsonElement> check)
    {
        var before = await Stats(user);
        check(before);
        await db.Run("select credits.roll_up_usage()");
        Assert.Equal(before.ToString(), (await Stats(user)).ToString());
    }

    private Task<JsonElement> Stats(Guid user) => db.Json("select credits.get_usage_stats($1)", user);

    private Task<List<string>> Features(Guid user, string? action = null) => db.Column<string>(
        "select concat(f.action_type, '|', f.action_name, '|', daily_uses, '|', weekly_uses, '|', monthly_uses, '|', daily_credits, '|', weekly_credits, '|', monthly_credits, '|', average_credits_per_action) from credits.get_feature_usage($1, $2) f order by action_type", user, action);
}

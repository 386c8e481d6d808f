namespace CreditDb.Tests.Sql;

/// <summary>The balance at a moment, and what reading projects against what writing applies.</summary>
public sealed class BalanceAtTests(TestDatabase db) : IClassFixture<TestDatabase>
{
    /// <summary>A clock for each connection: redefining the function each time would cost more than the test.</summary>
    private const string SessionClock =
        "create or replace function credits.clock_now() returns timestamptz language sql volatile as $$ select coalesce(nullif(current_setting('test.clock', true), '')::timestamptz, clock_timestamp()) $$";

    private const string At = "select credits.get_balance_at($1, $2::timestamptz)";

    [Fact]
    public async Task Every_moment_has_the_balance_of_the_last_entry_by_then()
    {
        await db.SetClock("2026-01-01 00:00Z");
        var user = await db.Account();
        var expected = new List<(string At, decimal Balance)> { ("2025-12-31 23:00Z", 0), ("2026-01-01 00:00Z", 0) };
        for (var day = 2; day <= 20; day++)
        {
            await db.SetClock($"2026-01-{day:00} 12:00Z");
            await db.Run(day % 3 == 2 ? "select credits.add_purchased_credits($1, 50)" : "select credits.deduct_credits_for_action($1, 'create_agent')", user);
            expected.Add(($"2026-01-{day:00} 11:59:59.999999Z", expected[^1].Balance));
            expected.Add(($"2026-01-{day:00} 12:00Z", await db.Balance(user)));
        }
        await db.SetClock("2026-02-01 00:00Z");
        foreach (var (at, balance) in expected)
            Assert.Equal((at, balance), (at, (await db.Json(At, user, at)).Number("balance")));
        var first = await db.Json(At, user, "2026-01-02 11:00Z");
        Assert.Equal((0m, ""), (first.Number("entry_no"), first.Text("entry_at")));
        Assert.Equal(19m, (await db.Json(At, user, "2026-02-01 00:00Z")).Number("entry_no"));
    }

    [Fact]
    public async Task What_had_fallen_due_counts_whether_it_was_applied_or_not()
    {
        await db.SetClock("2026-01-31 00:00Z");
        var user = Guid.NewGuid();
        await db.Run("select credits.open_account($1)", user);
        await db.Run("select credits.add_purchased_credits($1, 7)", user);
        await db.Run("select credits.grant_credits($1, 5, 'promotional', '2026-02-10 00:00Z')", user);
        await db.Run("select credits.reserve_credits($1, 'prompt_formatting', 30, '20 days')", user);
        await db.SetClock("2026-05-20 00:00Z");
        // 30 of the monthly ones are held to the 20th; 5 expire on the 10th, 100 at the end of February, when nobody was there to be paid until May.
        string[] moments = ["2026-02-09 23:59Z", "2026-02-10 00:00Z", "2026-02-19 23:59Z", "2026-02-20 00:00Z", "2026-02-27 23:59Z", "2026-02-28 00:00Z", "2026-04-29 23:59Z", "2026-04-30 00:00Z", "2026-05-20 00:00Z"];
        decimal[] balances = [82, 77, 77, 107, 107, 7, 7, 107, 107];
        var before = await db.Snapshot(user);
        for (var i = 0; i < moments.Length; i++)
            Assert.Equal((moments[i], balances[i]), (moments[i], (await db.Json(At, user, moments[i])).Number("balance")));
        Assert.Equal(before, await db.Snapshot(user));
        await db.Run("select credits.settle_due_wallets(100000)");
        for (var i = 0; i < moments.Length; i++)
            Assert.Equal((moments[i], balances[i]), (moments[i], (await db.Json(At, user, moments[i])).Number("balance")));
    }

    [Fact]
    public async Task Nobody_is_an_outcome_and_no_wallet_is_nothing()
    {
        Assert.Equal("unknown_account", (await db.Json(At, Guid.NewGuid(), "2020-01-01")).Text("code"));
        var user = await db.Account(1);
        Assert.Equal(0m, (await db.Json("select credits.get_balance_at($1, '2020-01-01', 'minutes')", user)).Number("balance"));
    }

    [Theory]
    [InlineData("p_user_id", "get_balance_at(null, '2020-01-01')")]
    [InlineData("p_at", "get_balance_at($1, null)")]
    [InlineData("p_at", "get_balance_at($1, '2999-01-01')")]
    [InlineData("p_at", "get_balance_at($1, 'infinity')")]
    [InlineData("p_credit_type", "get_balance_at($1, '2020-01-01', null)")]
    public async Task Refuses_malformed_arguments_by_name(string argument, string call)
    {
        var user = await db.Account(1);
        await db.Refuses(user, argument, $"select credits.{call}, $1::uuid", user);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public async Task Reading_projects_exactly_what_writing_applies_for_wallets_at_random(int seed)
    {
        var random = new Random(seed);
        await db.Run("insert into credits.plans (plan_id, plan_name, debt_limit) values ('daily', 'Daily', 1000) on conflict do nothing");
        await db.Run("insert into credits.plan_allowances values ('daily', 'credits', 12, 'day') on conflict do nothing");
        await db.Run("update credits.plans set debt_limit = 40 where plan_id in ('free', 'daily')");
        await db.Run("update credits.credit_costs set on_insufficient = 'debt' where action_type = 'create_agent'");
        await db.Run(SessionClock);
        await using var connection = await db.Source.OpenConnectionAsync(TestContext.Current.CancellationToken);
        string[] sources = ["promotional", "trial", "monthly", "purchased", "refund"];
        for (var n = 0; n < 12; n++)
        {
            var minute = 0;
            await Clock(0);
            var user = Guid.NewGuid();
            await connection.Run("select credits.open_account($1, $2, $3)", user, random.Next(3) switch { 0 => "daily", 1 => "paid", _ => "free" },
                random.Next(2) == 0 ? "Europe/Berlin" : "Australia/Lord_Howe");
            for (var i = 0; i < 12; i++)
            {
                minute += random.Next(600);
                await Clock(minute);
                switch (random.Next(6))
                {
                    case 0:
                        var source = sources[random.Next(sources.Length)];
                        await connection.Run("select credits.grant_credits($1, $2, $3, $4::timestamptz)", user, (decimal)random.Next(1, 40), source,
                            source == "purchased" || random.Next(4) == 0 ? null : Moment(minute + random.Next(1, 5000)));
                        break;
                    case 1 or 2:
                        await connection.Run("select credits.reserve_credits($1, 'prompt_formatting', $2, $3::interval)", user, random.Next(1, 3000) / 100m, $"{random.Next(1, 5000)} minutes");
                        break;
                    case 3:
                        await connection.Run("insert into public.bots (user_id, name) values ($1, 'a')", user);
                        break;
                    case 4:
                        await connection.Run("select credits.release_reservation($1, reservation_id) from credits.credit_reservations where user_id = $1 and status = 'held' limit 1", user);
                        break;
                    default:
                        await connection.Run("select credits.deduct_credits_for_action($1, 'prompt_formatting', $2)", user, random.Next(1, 2000) / 100m);
                        break;
                }
                var at = await Clock(minute + random.Next(3000));
                var projected = await Balance();
                await connection.Run("begin");
                await connection.Run("select credits.apply_due(w, greatest(credits.clock_now(), w.last_entry_at)) from credits.wallets w where w.user_id = $1", user);
                var applied = await Balance();
                var drift = await connection.Column<string>("select problem || ' ' || expected || ' ' || actual from credits.verify_ledger($1)", user);
                await connection.Run("rollback");
                Assert.True(projected == applied && drift.Count == 0, $"seed {seed}, wallet {n}, step {i} at {at}:\n{projected}\n{applied}\n{string.Join("; ", drift)}");

                Task<string> Balance() => connection.Value<string>(
                    "select concat(credits.get_credit_balance($1), credits.get_balance_at($1, credits.clock_now()) - 'entry_no' - 'entry_at')", user);
            }
        }

        Task<string> Clock(int minutes) => connection.Value<string>("select set_config('test.clock', $1, false)", Moment(minutes));
    }

    private static string Moment(int minutes) =>
        new DateTimeOffset(2026, 1, 31, 22, 10, 0, TimeSpan.Zero).AddMinutes(minutes).ToString("yyyy-MM-dd HH:mm:ss'Z'", System.Globalization.CultureInfo.InvariantCulture);
}

namespace CreditDb.Tests.Sql;

/// <summary>What reading functions project is exactly what applying it gives, for random wallets with holds, expiries, debts and owed sessions.</summary>
public sealed class ProjectionTests(TestDatabase db) : IClassFixture<TestDatabase>
{
    private const int Wallets = 60;
    private static readonly string[] Plans = ["free", "paid", "pro", "brief"];

    [Fact]
    public async Task Projection_equals_application_for_random_wallets()
    {
        var seed = int.TryParse(Environment.GetEnvironmentVariable("CREDITDB_TEST_SEED"), out var given) ? given : Environment.TickCount;
        TestContext.Current.TestOutputHelper?.WriteLine($"CREDITDB_TEST_SEED={seed}");
        var random = new Random(seed);
        var start = new DateTimeOffset(2026, 1, 31, 0, 0, 0, TimeSpan.Zero);
        await db.Run("update credits.plans set debt_limit = 40");
        await db.Run("insert into credits.plans (plan_id, plan_name, debt_limit) values ('brief', 'Brief', 40)");
        await db.Run("insert into credits.plan_allowances (plan_id, credit_type, amount, period) values ('brief', 'credits', 4, 'day')");
        await db.Run("insert into credits.plan_features (plan_id, action_type, limit_quantity, limit_period, cost_per_unit) values ('brief', 'chat_time', 9, 'day', 0.7)");
        await db.Run("select credits.set_cost('create_agent', p_on_insufficient => 'debt')");
        await db.Run("update credits.plan_allowances set amount = 5 where plan_id in ('free', 'pro') and credit_type = 'credits'");
        await db.SetClock(start.ToString("o"));

        var users = new List<(Guid Id, List<Guid> Sessions)>();
        for (var i = 0; i < Wallets; i++)
        {
            var user = Guid.NewGuid();
            await db.Run("select credits.open_account($1, $2)", user, Plans[random.Next(Plans.Length)]);
            users.Add((user, []));
        }
        var now = start;
        var (settled, paidByProjection) = (0, 0);
        for (var round = 0; round < 4; round++)
        {
            for (var step = 0; step < 5; step++)
            {
                now = now.AddMinutes(random.Next(5, 60));
                await db.SetClock(now.ToString("o"));
                foreach (var (user, sessions) in users)
                {
                    var amount = random.Next(1, 80) / 10m;
                    switch (random.Next(9))
                    {
                        case 0:
                            await db.Run("select credits.grant_credits($1, $2, 'promotional', $3, $4)", user, amount, now.AddMinutes(random.Next(1, 60 * 24 * 20)), random.Next(3) == 0 ? random.Next(60) : null);
                            break;
                        case 1:
                            await db.Run("select credits.add_purchased_credits($1, $2)", user, amount);
                            break;
                        case 2 or 3:
                            await db.Run("select credits.reserve_credits($1, 'send_email', greatest(floor((credits.get_credit_balance($1) ->> 'total')::numeric * 2 * $2), 1), $3)",
                                user, (decimal)random.NextDouble(), TimeSpan.FromMinutes(random.Next(1, 60 * 24 * 10)));
                            break;
                        case 4:
                            await db.Run("insert into public.bots (user_id, name) values ($1, 'a')", user);
                            break;
                        case 5 when sessions.Count < 3:
                            sessions.Add(Guid.Parse((await db.Json("select credits.open_chat_session($1)", user)).Text("session_id")));
                            break;
                        case 6 when random.Next(10) == 0:
                            await db.Run("update credits.accounts set status = case status when 'active' then 'suspended' else 'active' end where user_id = $1", user);
                            break;
                        default:
                            foreach (var session in sessions)
                                await db.Run("select credits.record_chat_time($1, $2, elapsed_seconds + least(extract(epoch from credits.clock_now() - started_at) - elapsed_seconds, $3)::integer) from credits.chat_sessions where user_id = $1 and session_id = $2",
                                    user, session, (decimal)random.Next(0, 600));
                            break;
                    }
                }
            }

            now = now.AddMinutes(random.Next(1, round % 2 == 0 ? 60 * 24 * 3 : 60 * 24 * 70));
            await db.SetClock(now.ToString("o"));
            var past = now.AddMinutes(-random.Next(0, 60 * 24 * 2));
            var stored = await Read("select user_id || ' ' || owed from credits.wallets where credit_type = 'credits' order by user_id");
            var projected = await Read("select credits.get_credit_balance(user_id)::text from credits.accounts order by user_id");
            var projectedPast = await Read("select credits.get_balance_at(user_id, $1)::jsonb ->> 'balance' from credits.accounts order by user_id", past);
            var projectedNow = await Read("select credits.get_balance_at(user_id, $1)::jsonb ->> 'balance' from credits.accounts order by user_id", now);
            var projectedOwed = await Read("select user_id || ' ' || (credits.get_credit_balance(user_id) ->> 'owed')::numeric(20,6) from credits.accounts order by user_id");
            paidByProjection += stored.Zip(projectedOwed).Count(p => p.First != p.Second);
            settled += await db.Value<int>("select credits.settle_due_wallets(100000)");
            Assert.Equal(0, await db.Value<int>("select credits.settle_due_wallets(100000)"));
            Assert.Equal(projected, await Read("select credits.get_credit_balance(user_id)::text from credits.accounts order by user_id"));
            Assert.Equal(projectedPast, await Read("select credits.get_balance_at(user_id, $1)::jsonb ->> 'balance' from credits.accounts order by user_id", past));
            Assert.Equal(projectedNow, await Read("select trim_scale(balance)::text from credits.wallets where credit_type = 'credits' order by user_id"));
            Assert.Empty(await Read("select problem || ': ' || expected || ', ' || actual from credits.verify_ledger()"));
        }
        Assert.True(settled > 12, $"Only {settled} wallets were due.");
        Assert.True(paidByProjection > 6, $"Only {paidByProjection} projections paid what was owed.");
    }

    private Task<List<string>> Read(string sql, params object?[] arguments) => db.Column<string>(sql, arguments);
}

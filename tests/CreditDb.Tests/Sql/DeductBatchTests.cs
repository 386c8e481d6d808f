using System.Data;
using System.Text.Json;
using System.Text.Json.Nodes;
using Npgsql;

namespace CreditDb.Tests.Sql;

public sealed class DeductBatchTests(TestDatabase db) : IClassFixture<TestDatabase>
{
    /// <summary>The rows as the outcomes of single calls, but for what is null.</summary>
    private const string Outcomes = "select jsonb_agg(jsonb_strip_nulls(to_jsonb(r) - 'request_no' - 'details') || coalesce(r.details, '{}') order by r.request_no) ";
    private const string Batch = Outcomes + "from credits.deduct_credits_batch($1::jsonb) r";

    /// <summary>Each user has a twin: what a batch does to the one, single calls do to the other.</summary>
    [Fact]
    public async Task A_batch_does_what_its_requests_do_one_after_the_other()
    {
        var seed = int.TryParse(Environment.GetEnvironmentVariable("CREDITDB_TEST_SEED"), out var given) ? given : Environment.TickCount;
        var random = new Random(seed);
        string[] actions = ["weekly_report", "weekly_report", "weekly_report", "create_agent", "script_generation", "send_email", "chat_message", "no_such_thing"];
        var twins = new List<(Guid A, Guid B)> { (Guid.NewGuid(), Guid.NewGuid()) };
        for (var i = 0; i < 12; i++)
        {
            var (a, b) = (Guid.NewGuid(), Guid.NewGuid());
            var credits = random.Next(1, 400);
            foreach (var user in new[] { a, b })
            {
                await db.Run("select credits.open_account($1, $2)", user, i % 3 == 0 ? "free" : "paid");
                await db.Run("select credits.add_purchased_credits($1, $2)", user, (decimal)credits);
                if (i % 4 == 0)
                    await db.Run("select credits.suspend_account($1, 'test')", user);
            }
            twins.Add((a, b));
        }

        for (var round = 0; round < 6; round++)
        {
            var requests = Enumerable.Range(0, 120).Select(_ => (
                Twin: twins[random.Next(twins.Count)],
                Action: actions[random.Next(actions.Length)],
                Quantity: random.Next(4) == 0 ? random.Next(1, 40) / 8m : 1m,
                Key: random.Next(3) == 0 ? $"key {random.Next(60)}" : null)).ToList();
            var outcomes = await Deduct(requests.Select(r => Request(r.Twin.A, r.Action, r.Quantity, r.Key)));
            for (var i = 0; i < requests.Count; i++)
            {
                var (twin, action, quantity, key) = requests[i];
                string expected;
                try
                {
                    expected = (await db.Json("select jsonb_strip_nulls(credits.deduct_credits_for_action($1, $2, $3, p_idempotency_key => $4))", twin.B, action, quantity, key)).ToString();
                }
                catch (PostgresException e) when (e.SqlState == "UC201")
                {
                    expected = """{"code": "key_reused", "error": "The idempotency key was used for another request.", "success": false}""";
                }

                Assert.True(expected == outcomes[i].ToString(), $"CREDITDB_TEST_SEED={seed}, request {i} of round {round}: {outcomes[i]} instead of {expected}");
            }
        }

        foreach (var (a, b) in twins)
            Assert.Equal(await db.Ledger(b), await db.Ledger(a));
    }

    [Theory]
    [InlineData("7", "request")]
    [InlineData("null", "request")]
    [InlineData("""{"user_id": "USER", "action_type": "weekly_report", "idempotencyKey": "k"}""", "request")]
    [InlineData("""{"action_type": "weekly_report"}""", "user_id")]
    [InlineData("""{"user_id": 7, "action_type": "weekly_report"}""", "user_id")]
    [InlineData("""{"user_id": "USER "}""", "user_id")]
    [InlineData("""{"user_id": 12345678123456781234567812345678, "action_type": "weekly_report"}""", "user_id")]
    [InlineData("""{"user_id": "USER", "action_type": "weekly_report", "reference_id": 12345678123456781234567812345678}""", "reference_id")]
    [InlineData("""{"user_id": "USER", "action_type": "weekly_report", "quantity": null, "reference_id": null, "metadata": null, "idempotency_key": null, "actor": 1}""", "actor")]
    [InlineData("""{"user_id": "USER", "action_type": "weekly_report", "quantity": "NaN"}""", "quantity")]
    [InlineData("""{"user_id": "USER"}""", "action_type")]
    [InlineData("""{"user_id": "USER", "action_type": ""}""", "action_type")]
    [InlineData("""{"user_id": "USER", "action_type": ["weekly_report"]}""", "action_type")]
    [InlineData("""{"user_id": "USER", "action_type": "weekly_report", "quantity": "1"}""", "quantity")]
    [InlineData("""{"user_id": "USER", "action_type": "weekly_report", "quantity": 0}""", "quantity")]
    [InlineData("""{"user_id": "USER", "action_type": "weekly_report", "quantity": -1}""", "quantity")]
    [InlineData("""{"user_id": "USER", "action_type": "weekly_report", "quantity": 1e300}""", "quantity")]
    [InlineData("""{"user_id": "USER", "action_type": "weekly_report", "quantity": 0.0000001}""", "quantity")]
    [InlineData("""{"user_id": "USER", "action_type": "create_agent", "quantity": 1000000000}""", "quantity")]
    [InlineData("""{"user_id": "USER", "action_type": "weekly_report", "reference_id": "x"}""", "reference_id")]
    [InlineData("""{"user_id": "USER", "action_type": "weekly_report", "metadata": []}""", "metadata")]
    [InlineData("""{"user_id": "USER", "action_type": "weekly_report", "idempotency_key": ""}""", "idempotency_key")]
    [InlineData("""{"user_id": "USER", "action_type": "weekly_report", "idempotency_key": 7}""", "idempotency_key")]
    public async Task A_malformed_request_is_an_outcome_and_its_neighbours_are_charged(string request, string argument)
    {
        var user = await db.Account(10);
        var neighbour = Request(user, "weekly_report").ToJsonString();
        var outcomes = await db.Json(Batch, $"[{neighbour}, {request.Replace("USER", user.ToString(), StringComparison.Ordinal)}, {neighbour}]");
        var codes = outcomes.EnumerateArray().ToList();
        Assert.Equal(["ok", "invalid_argument", "ok"], codes.Select(c => c.Text("code")));
        Assert.Equal(argument, codes[1].Text("argument"));
        Assert.False(codes[1].Flag("success"));
        Assert.Equal(8, await db.Balance(user));
    }

    [Theory]
    [InlineData("{}")]
    [InlineData("[]")]
    [InlineData("null")]
    [InlineData(null)]
    public async Task What_is_no_array_is_refused(string? requests) => await db.Fails("UC001", Batch, requests);

    [Fact]
    public async Task Whether_it_waits_must_be_said() => await db.Fails("UC001", "select credits.deduct_credits_batch('[{}]', null)");

    [Fact]
    public async Task Metadata_and_references_are_kept_and_large_metadata_is_refused()
    {
        var user = await db.Account(10);
        var reference = Guid.NewGuid();
        var kept = Request(user, "weekly_report");
        kept["metadata"] = new JsonObject { ["a"] = 1 };
        kept["reference_id"] = reference.ToString();
        var large = Request(user, "weekly_report");
        large["metadata"] = new JsonObject { ["a"] = new string('x', 17_000) };
        var outcomes = await Deduct([kept, large]);
        Assert.Equal(["ok", "invalid_argument"], outcomes.Select(o => o.Text("code")));
        Assert.Equal("""{"a": 1}""", await db.Value<string>("select metadata::text from credits.credit_ledger where user_id = $1 and reference_id = $2", user, reference));
    }

    [Fact]
    public async Task A_key_from_before_the_users_data_were_erased_charges_nothing()
    {
        var user = await db.Account(10);
        await Deduct([Request(user, "weekly_report", key: "k")]);
        await db.Run("select credits.erase_user_data($1)", user);
        var outcomes = await Deduct([Request(user, "weekly_report"), Request(user, "weekly_report", key: "k"), Request(user, "weekly_report", key: "new")]);
        Assert.Equal(["ok", "key_erased", "ok"], outcomes.Select(o => o.Text("code")));
        Assert.Equal(7, await db.Balance(user));
    }

    [Fact]
    public async Task What_was_charged_is_answered_as_then_whatever_it_would_cost_now()
    {
        var user = await db.Account(1000);
        var action = $"dear_{Guid.NewGuid():N}";
        await db.Run("select credits.set_cost($1, 1)", action);
        await Deduct([Request(user, action, 1000, "k")]);
        await db.Run("select credits.set_cost($1, 2000000)", action);
        var outcomes = await Deduct([Request(user, action, 1000, "k"), Request(user, action, 1000, "other"), Request(user, action, 999, "k")]);
        Assert.Equal(["ok", "invalid_argument", "key_reused"], outcomes.Select(o => o.Text("code")));
        Assert.True(outcomes[0].Flag("replayed"));
    }

    [Fact]
    public async Task The_most_that_a_request_can_cost_is_meant_after_rounding()
    {
        var user = await db.Account(1_000_000_000);
        var action = $"odd_{Guid.NewGuid():N}";
        await db.Run("select credits.set_cost($1, 1.000001)", action);
        Assert.Equal(["ok"], (await Deduct([Request(user, action, 999999000.001m)])).Select(o => o.Text("code")));
        Assert.Equal(0, await db.Balance(user));
    }

    [Fact]
    public async Task A_decline_comes_before_a_key_from_before_the_users_data_were_erased()
    {
        var user = await db.Account(1);
        await Deduct([Request(user, "send_email", key: "k")]);
        await db.Run("select credits.erase_user_data($1)", user);
        var outcomes = await Deduct([Request(user, "create_agent", key: "k"), Request(user, "create_agent", 1e9m, "k"), Request(user, "send_email", key: "k"), Request(user, "send_email")]);
        Assert.Equal(["insufficient_credits", "invalid_argument", "key_erased", "ok"], outcomes.Select(o => o.Text("code")));
        Assert.Equal(1, await db.Value<long>("select count(*) from credits.notifications where user_id = $1 and type = 'deduction_failed'", user));
    }

    [Fact]
    public async Task An_actor_who_is_nobody_is_none()
    {
        var user = await db.Account(10);
        await using var connection = await db.Source.OpenConnectionAsync(TestContext.Current.CancellationToken);
        await connection.Run("select set_config('credits.actor', '', false)");
        await connection.Run("select credits.deduct_credits_for_action($1, 'send_email')", user);
        await connection.Json(Batch, new JsonArray(Request(user, "send_email"), Request(user, "create_agent", 1000), Request(user, "send_email")).ToJsonString());
        await connection.Run("insert into public.bots (user_id, name) values ($1, 'a')", user);
        Assert.Equal([4], await db.Column<long>("select count(*) from credits.credit_ledger where user_id = $1 and kind = 'usage' and actor is null", user));
    }

    [Theory]
    [MemberData(nameof(Levels))]
    public async Task Batches_over_the_same_users_in_any_order_race_with_single_charges(IsolationLevel level)
    {
        var users = new List<Guid>();
        for (var i = 0; i < 20; i++)
            users.Add(await db.Account(100));
        // The order in which a batch locks them; in any other, several single charges in one transaction would deadlock with it.
        users = [.. users.OrderBy(u => u.ToString(), StringComparer.Ordinal)];
        var outcomes = await db.Race(8, level, async (c, i) =>
        {
            if (i % 4 == 3)
            {
                foreach (var user in users)
                    await c.Json("select credits.deduct_credits_for_action($1, 'weekly_report')", user);
                return default;
            }

            // Half of the keys are shared by all batches, so each of those charges once.
            var order = users.OrderBy(_ => Random.Shared.Next()).ToList();
            var requests = new JsonArray([.. order.SelectMany(u => new[] { Request(u, "weekly_report", key: "shared"), Request(u, "send_email") })]);
            return await c.Json(Batch, requests.ToJsonString());
        });
        var batches = outcomes.Count(o => o.ValueKind == JsonValueKind.Array);
        Assert.Equal(6, batches);
        foreach (var user in users)
            Assert.Equal(100m - 2 - 1 - (batches * 0.5m), await db.Balance(user));
    }

    [Fact]
    public async Task Batches_that_do_not_wait_leave_what_is_busy_and_charge_the_rest_once()
    {
        var users = new List<Guid>();
        for (var i = 0; i < 12; i++)
            users.Add(await db.Account(1000));
        var busy = 0;
        await Task.WhenAll(Enumerable.Range(0, 6).Select(async i =>
        {
            await using var connection = await db.Source.OpenConnectionAsync(TestContext.Current.CancellationToken);
            for (var round = 0; round < 5; round++)
            {
                // One key of each user and round is everybody's, and one quantity is unusual.
                var left = users.OrderBy(_ => Random.Shared.Next())
                    .SelectMany(u => new[] { Request(u, "weekly_report", key: $"shared {round}"), Request(u, "weekly_report", 2.5m), Request(u, "weekly_report", key: $"own {i} {round}") }).ToList();
                while (left.Count > 0)
                {
                    var outcomes = (await connection.Json(
                        Outcomes + "from credits.deduct_credits_batch($1::jsonb, false) r", new JsonArray([.. left.Select(r => r.DeepClone())]).ToJsonString())).EnumerateArray().ToList();
                    Assert.All(outcomes, o => Assert.Contains(o.Text("code"), new[] { "ok", "busy" }));
                    left = [.. left.Where((_, n) => outcomes[n].Text("code") == "busy")];
                    Interlocked.Add(ref busy, left.Count);
                }
            }
        }));

        Assert.True(busy > 0, "Nobody met anybody.");
        foreach (var user in users)
        {
            Assert.Equal(1000 - 5 - (30 * 3.5m), await db.Balance(user));
            Assert.Equal(5 + 60, await db.Charges(user));
        }
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task A_wallet_that_is_opened_after_the_locks_is_charged_under_a_lock_of_its_own_or_busy(bool waits)
    {
        // A nap at the second look at the clock: the first is before the locks, the second at the first charge after them.
        await db.Run(
            """
            create or replace function credits.clock_now() returns timestamptz language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
            begin
              if current_setting('test.nap', true) = '1' then
                perform set_config('test.nap', '2', false);
              elsif current_setting('test.nap', true) = '2' then
                perform set_config('test.nap', '3', false), pg_sleep(2);
              end if;
              return clock_timestamp();
            end $$
            """);
        var first = Guid.Parse($"00000000{Guid.NewGuid().ToString()[8..]}");
        var user = Guid.NewGuid();
        await using var slow = await db.Source.OpenConnectionAsync(TestContext.Current.CancellationToken);
        await slow.Run("select set_config('test.nap', '1', false)");
        var batch = slow.Json(Outcomes + "from credits.deduct_credits_batch($1::jsonb, $2) r", new JsonArray(Request(first, "send_email"), Request(user, "send_email")).ToJsonString(), waits);
        await Task.Delay(500, TestContext.Current.CancellationToken);
        await db.Run("select credits.open_account($1, 'free')", user);
        await db.Run("select credits.deduct_credits_for_action($1, 'send_email')", user);
        await using (var other = await db.Source.OpenConnectionAsync(TestContext.Current.CancellationToken))
        {
            await using var transaction = await other.BeginTransactionAsync(TestContext.Current.CancellationToken);
            await other.Run("select credits.set_threshold($1, 60)", user);
            await Task.Delay(2500, TestContext.Current.CancellationToken);
            await transaction.CommitAsync(TestContext.Current.CancellationToken);
        }

        // Without waiting, what it has not locked is somebody else's.
        Assert.Equal(["unknown_account", waits ? "ok" : "busy"], (await batch).EnumerateArray().Select(o => o.Text("code")));
        Assert.Equal(waits ? 2 : 1, await db.Charges(user));
        Assert.Empty(await db.Column<string>("select problem from credits.verify_ledger($1)", user));
    }

    [Fact]
    public async Task Requests_that_open_their_wallet_are_not_busy()
    {
        var user = Guid.NewGuid();
        var requests = new JsonArray(Request(user, "send_email"), Request(user, "send_email"), Request(user, "send_email"));

        var results = await db.Json(Outcomes + "from credits.deduct_credits_batch($1::jsonb, false) r", requests.ToJsonString());

        Assert.DoesNotContain("busy", results.EnumerateArray().Select(r => r.Text("code")));
    }

    [Fact]
    public async Task The_key_of_a_wallet_that_somebody_else_is_opening_is_nobody_elses_trouble()
    {
        var (user, neighbour) = (await db.Account(100), await db.Account(100));
        await db.Run("select credits.set_cost('late_type', 0, 'Late', 'piece', p_credit_type => 'late')");
        await using var opener = await db.Source.OpenConnectionAsync(TestContext.Current.CancellationToken);
        await using var transaction = await opener.BeginTransactionAsync(TestContext.Current.CancellationToken);
        await opener.Run("select credits.deduct_credits_for_action($1, 'late_type', p_idempotency_key => 'k')", user);

        // Without waiting it is busy, though there is no wallet to see yet.
        var requests = new JsonArray(Request(neighbour, "send_email"), Request(user, "late_type", 2, "k")).ToJsonString();
        var busy = await db.Json(Outcomes + "from credits.deduct_credits_batch($1::jsonb, false) r", requests);
        Assert.Equal(["ok", "busy"], busy.EnumerateArray().Select(o => o.Text("code")));

        var batch = db.Json(Batch, requests);
        await Task.Delay(300, TestContext.Current.CancellationToken);
        await transaction.CommitAsync(TestContext.Current.CancellationToken);
        Assert.Equal(["ok", "key_reused"], (await batch).EnumerateArray().Select(o => o.Text("code")));
        Assert.Equal(99, await db.Balance(neighbour));
    }

    public static TheoryData<IsolationLevel> Levels => Racing.Levels;

    private static JsonObject Request(Guid user, string action, decimal quantity = 1, string? key = null) =>
        new() { ["user_id"] = user.ToString(), ["action_type"] = action, ["quantity"] = quantity, ["idempotency_key"] = key };

    private async Task<List<JsonElement>> Deduct(IEnumerable<JsonObject> requests) =>
        [.. (await db.Json(Batch, new JsonArray([.. requests]).ToJsonString())).EnumerateArray()];
}

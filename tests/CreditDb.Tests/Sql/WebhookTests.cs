using System.Text.Json;
using Npgsql;

namespace CreditDb.Tests.Sql;

/// <summary>Events for webhooks: when they are written, in which order they are given out, and what becomes of those that cannot be delivered.</summary>
public sealed class WebhookTests(TestServer server) : IAsyncLifetime
{
    private const string Decline = "select credits.deduct_credits_for_action($1, 'create_agent', 1000)";

    private TestDatabase _db = null!;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    // Claims see the deliveries of all users, so each test has a database of its own.
    public async ValueTask InitializeAsync()
    {
        _db = new TestDatabase(server);
        await _db.InitializeAsync();
        await _db.SetClock("2026-03-01 12:00Z");
    }

    public ValueTask DisposeAsync() => _db.DisposeAsync();

    [Fact]
    public async Task Without_an_endpoint_nothing_is_written()
    {
        var user = await _db.Account(10);
        await _db.Run(Decline, user);
        await _db.Run("select credits.complete_purchase($1, $2, 'pi')", user, await Purchase(user));
        Assert.Equal(0, await Count());
        var id = await Endpoint();
        await _db.Run("select credits.set_webhook_endpoint($1, p_is_active => false)", id);
        await _db.Run(Decline, user);
        Assert.Equal(0, await Count());
        await _db.Run("select credits.set_webhook_endpoint($1, p_is_active => true, p_events => '{purchase.refunded,notification.reset}')", id);
        await _db.Run(Decline, user);
        await _db.Run("select credits.complete_purchase($1, $2, 'pi_2')", user, await Purchase(user));
        Assert.Equal(0, await Count());
    }

    [Fact]
    public async Task The_usual_charge_writes_nothing_for_webhooks()
    {
        await Endpoint();
        var user = await _db.Account(10);
        for (var i = 0; i < 5; i++)
            Assert.True((await _db.Json("select credits.deduct_credits_for_action($1, 'prompt_formatting')", user)).Flag("success"));
        await _db.Run("insert into public.email_templates (user_id, name) values ($1, 'a')", user);
        Assert.Equal(0, await Count());
        // The charge that uses up the credits has something to tell.
        await _db.Run("select credits.deduct_credits_for_action($1, 'prompt_formatting', 4)", user);
        Assert.Equal(["notification.exhausted"], await Types(user));
    }

    [Fact]
    public async Task Events_go_to_the_endpoints_that_want_them_and_have_one_id()
    {
        var (all, purchases, declines) = (await Endpoint(), await Endpoint("{purchase.*}"), await Endpoint("{notification.deduction_failed,purchase.failed}"));
        var user = await _db.Account(10);
        await _db.Run(Decline, user);
        var id = await Purchase(user);
        await _db.Run("select credits.fail_purchase($1, $2, 'card declined')", user, id);
        await _db.Run("select credits.fail_purchase($1, $2, 'again')", user, id);
        await _db.Run("select credits.complete_purchase($1, $2, 'pi')", user, id);
        await _db.Run("select credits.complete_purchase($1, $2, 'pi')", user, id);
        await _db.Run("select credits.refund_purchase($1, $2, 10, 'sorry', 're')", user, id);
        await _db.Run("select credits.refund_purchase($1, $2, 20, 'fraud', 'dp', true)", user, id);
        await _db.Run("select credits.refund_purchase($1, $2, 20, 'fraud', 'dp', true)", user, id);
        await _db.Run("select credits.reinstate_purchase($1, $2, 'dp')", user, id);
        string[] expected =
            ["notification.deduction_failed", "purchase.failed", "purchase.completed", "purchase.refunded", "purchase.disputed", "purchase.reinstated"];
        Assert.Equal(expected, await Types(user, all));
        Assert.Equal(expected[1..], await Types(user, purchases));
        Assert.Equal(expected[..2], await Types(user, declines));
        Assert.Equal(6, await _db.Value<long>("select count(distinct event_id) from credits.webhook_deliveries"));
        Assert.Equal(1, await _db.Value<long>("select count(distinct (event_id, data)) from credits.webhook_deliveries where type = 'purchase.failed'"));

        var refunded = await _db.Json("select data::text from credits.webhook_deliveries where type = 'purchase.refunded' and endpoint_id = $1", all);
        Assert.Equal((id.ToString(), 10m, 1m, 90m, "paid"),
            (refunded.Text("purchase_id"), refunded.Number("amount_minor"), refunded.Number("credits_taken"), refunded.Number("refundable_minor"), refunded.Text("status")));
        Assert.False(refunded.TryGetProperty("replayed", out _));
        var told = await _db.Json("select data::text from credits.webhook_deliveries where type = 'notification.deduction_failed' and endpoint_id = $1", all);
        Assert.Equal(("Not enough credits", "create_agent", 1m, "insufficient_credits"),
            (told.Text("title"), told.Text("action_type"), told.Number("repeats"), told.GetProperty("details").Text("code")));
    }

    [Fact]
    public async Task What_is_rolled_back_is_not_told_and_of_one_statement_only_the_most_telling_is()
    {
        await Endpoint();
        var user = await _db.Account(10);
        await using (var connection = await _db.Source.OpenConnectionAsync(Cancel))
        await using (await connection.BeginTransactionAsync(Cancel))
            await connection.Run(Decline, user);
        Assert.Equal(0, await Count());
        // Uses up the credits by its first row, and fails by the next.
        await _db.Run("insert into public.email_templates (user_id, name) select $1, 'a' from generate_series(1, 12)", user);
        await _db.Run("select credits.grant_credits($1, 1, 'promotional')", user);
        Assert.Equal(["notification.deduction_failed"], await Types(user));
        Assert.Equal(1, await _db.Value<long>("select count(*) from credits.notifications where user_id = $1", user));

        // Two statements of a transaction tell two things.
        var other = await _db.Account(10);
        await using (var connection = await _db.Source.OpenConnectionAsync(Cancel))
        {
            await using var transaction = await connection.BeginTransactionAsync(Cancel);
            await connection.Run("select credits.deduct_credits_for_action($1, 'prompt_formatting', 10)", other);
            await connection.Run(Decline, other);
            await transaction.CommitAsync(Cancel);
        }
        Assert.Equal(["notification.exhausted", "notification.deduction_failed"], await Types(other));
        // A batch: the decline supersedes what its first item told.
        var third = await _db.Account(10);
        await _db.Run("select credits.deduct_credits_batch(jsonb_build_array(jsonb_build_object('user_id', $1::uuid, 'action_type', 'prompt_formatting', 'quantity', 10), jsonb_build_object('user_id', $1::uuid, 'action_type', 'create_agent')))", third);
        Assert.Equal(["notification.deduction_failed"], await Types(third));
    }

    [Fact]
    public async Task A_retry_loop_is_told_at_once_and_then_once_an_hour_with_its_count()
    {
        await Endpoint();
        var user = await _db.Account();
        var other = await _db.Account();
        for (var i = 0; i < 50; i++)
            await _db.Run(Decline, user);
        var first = Assert.Single(await Claim());
        Assert.Equal(("notification.deduction_failed", 1m), (first.Text("type"), first.GetProperty("data").Number("repeats")));
        await Finish(first, true);
        Assert.Equal(2, await Count());
        Assert.Empty(await Claim());
        await _db.SetClock("2026-03-01 12:59:59Z");
        await _db.Run(Decline, user);
        await _db.Run(Decline, other);
        Assert.Equal(other, Assert.Single(await Claim()).GetProperty("user_id").GetGuid());
        Assert.Equal(3, await Count());

        await _db.SetClock("2026-03-01 13:00Z");
        await _db.Run(Decline, user);
        var summary = Assert.Single(await Claim());
        Assert.Equal((52m, "2026-03-01T13:00:00+00:00"), (summary.GetProperty("data").Number("repeats"), summary.Text("created_at")));
        await Finish(summary, true);
        await _db.SetClock("2026-03-01 17:30Z");
        await _db.Run(Decline, user);
        var late = (await Claim()).Single(d => d.GetProperty("user_id").GetGuid() == user);
        Assert.Equal((53m, "2026-03-01T17:30:00+00:00"), (late.GetProperty("data").Number("repeats"), late.Text("created_at")));

        // What was read is told anew.
        await _db.Run("select credits.read_notifications($1)", user);
        await _db.Run(Decline, user);
        await Finish(late, true);
        Assert.Equal(1, (await Claim()).Single(d => d.GetProperty("user_id").GetGuid() == user).GetProperty("data").Number("repeats"));
    }

    [Fact]
    public async Task Repeats_in_one_statement_are_one_event_and_a_summary_and_a_notification_that_is_gone_has_none()
    {
        await Endpoint();
        var user = await _db.Account();
        await _db.Run("select credits.deduct_credits_batch((select jsonb_agg(jsonb_build_object('user_id', $1::uuid, 'action_type', 'create_agent')) from generate_series(1, 100)))", user);
        Assert.Equal(2, await Count());
        await Finish(Assert.Single(await Claim()), true);
        await _db.SetClock("2026-03-01 14:00Z");
        await _db.Run("delete from credits.notifications where user_id = $1", user);
        Assert.Empty(await Claim());
        Assert.Equal(1, await Count());
    }

    [Fact]
    public async Task An_account_is_sent_one_event_at_a_time_in_order_and_a_failed_one_holds_up_its_own_account_only()
    {
        await Endpoint();
        var (slow, other) = (await _db.Account(), await _db.Account());
        string[] actions = ["create_agent", "send_email", "brag_doc"];
        foreach (var action in actions)
        {
            await _db.Run("select credits.deduct_credits_for_action($1, $2)", slow, action);
            await _db.Run("select credits.deduct_credits_for_action($1, $2)", other, action);
        }

        foreach (var action in actions)
        {
            var claimed = await Claim();
            Assert.Equal(action == actions[0] ? [slow, other] : [other], claimed.Select(d => d.GetProperty("user_id").GetGuid()).Order().OrderBy(u => u == other));
            Assert.Equal(action, claimed[^1].GetProperty("data").Text("action_type"));
            Assert.Empty(await Claim());
            foreach (var delivery in claimed)
                await Finish(delivery, delivery.GetProperty("user_id").GetGuid() == other);
        }

        Assert.Empty(await Claim());
        await _db.SetClock("2026-03-01 12:00:07Z");
        foreach (var action in actions)
        {
            var claimed = Assert.Single(await Claim());
            Assert.Equal((action, action == actions[0] ? 2 : 1), (claimed.GetProperty("data").Text("action_type"), claimed.Number("attempt")));
            await Finish(claimed, true);
        }
    }

    [Fact]
    public async Task Events_of_one_moment_keep_the_order_in_which_they_happened_also_over_credit_types()
    {
        await Endpoint();
        var user = Guid.NewGuid();
        await _db.Run("select credits.open_account($1)", user);
        for (var i = 0; i < 21; i++)
            await _db.Run("select credits.deduct_chat_message($1)", user);
        await _db.Run("select credits.deduct_credits_for_action($1, 'prompt_formatting', 100)", user);
        await _db.Run(Decline, user);
        List<string> order = [];
        while (await Claim() is [var claimed])
        {
            order.Add($"{claimed.Text("type")} {claimed.GetProperty("data").Text("credit_type")}");
            await Finish(claimed, true);
        }
        Assert.Equal(
            ["notification.exhausted chat_messages", "notification.deduction_failed chat_messages", "notification.exhausted credits", "notification.deduction_failed credits"],
            order);
    }

    [Fact]
    public async Task An_event_that_commits_late_waits_while_a_later_one_of_the_account_is_being_sent()
    {
        await Endpoint();
        var user = Guid.NewGuid();
        await _db.Run("select credits.open_account($1)", user);
        await using var late = await _db.Source.OpenConnectionAsync(Cancel);
        await using var transaction = await late.BeginTransactionAsync(Cancel);
        await late.Run(Decline, user);
        await _db.SetClock("2026-03-01 12:00:01Z");
        // Another wallet of the account: nobody waits for the first one's lock.
        await _db.Run("select credits.deduct_credits_for_action($1, 'chat_message', 1000)", user);
        var first = Assert.Single(await Claim());
        Assert.Equal("chat_messages", first.GetProperty("data").Text("credit_type"));
        await transaction.CommitAsync(Cancel);
        Assert.Empty(await Claim());
        await Finish(first, true);
        Assert.Equal("credits", Assert.Single(await Claim()).GetProperty("data").Text("credit_type"));
    }

    [Fact]
    public async Task A_lease_that_ends_is_given_to_the_next_and_what_its_first_owner_reports_counts_no_more()
    {
        await Endpoint();
        var user = await _db.Account();
        await _db.Run(Decline, user);
        var first = Assert.Single(await Claim());
        await _db.SetClock("2026-03-01 12:00:59Z");
        Assert.Empty(await Claim());
        await _db.SetClock("2026-03-01 12:01Z");
        var second = Assert.Single(await Claim());
        Assert.Equal((first.Text("event_id"), 2m), (second.Text("event_id"), second.Number("attempt")));
        var before = await _db.Snapshot(user);
        Assert.Equal("not_found", (await Finish(first, true)).Text("code"));
        Assert.Equal("not_found", (await Finish(first, false)).Text("code"));
        Assert.Equal(before, await _db.Snapshot(user));
        Assert.Equal("delivered", (await Finish(second, true)).Text("status"));
        Assert.Equal("not_found", (await Finish(second, true)).Text("code"));
        Assert.Empty(await Claim());
    }

    [Fact]
    public async Task Many_claimers_at_once_send_each_event_once_and_in_order_while_others_are_written()
    {
        const int users = 12, events = 12;
        await _db.Run("create or replace function credits.clock_now() returns timestamptz language plpgsql volatile set search_path = pg_catalog, pg_temp as $$ begin return clock_timestamp(); end $$");
        await Endpoint();
        var accounts = await Task.WhenAll(Enumerable.Range(0, users).Select(_ => _db.Account()));
        var (sent, sending, overlaps) = (new Dictionary<Guid, List<decimal>>(), new HashSet<Guid>(), 0);
        var writing = Task.WhenAll(accounts.Select(async user =>
        {
            for (var i = 1; i <= events; i++)
            {
                await _db.Run("select credits.deduct_credits_for_action($1, 'create_agent', $2)", user, (decimal)i);
                // Read, so that each decline is an event.
                await _db.Run("select credits.read_notifications($1)", user);
            }
        }));
        await Task.WhenAll(Enumerable.Range(0, 8).Select(async _ =>
        {
            for (var idle = 0; idle < 20 || !writing.IsCompleted;)
            {
                var claimed = await Claim(3, "$1, '10 minutes', 1000");
                idle = claimed.Count == 0 ? idle + 1 : 0;
                foreach (var delivery in claimed)
                {
                    var user = delivery.GetProperty("user_id").GetGuid();
                    lock (sending)
                    {
                        overlaps += sending.Add(user) ? 0 : 1;
                        if (!sent.TryGetValue(user, out var list))
                            sent[user] = list = [];
                        list.Add(delivery.GetProperty("data").GetProperty("details").Number("required"));
                    }
                    await Task.Yield();
                    lock (sending)
                        sending.Remove(user);
                    await Finish(delivery, true);
                }
                if (claimed.Count == 0)
                    await Task.Delay(5, Cancel);
            }
        }));
        await writing;
        Assert.Equal(0, overlaps);
        Assert.Equal(users, sent.Count);
        Assert.All(sent.Values, list => Assert.Equal(Enumerable.Range(1, events).Select(i => i * 5m), list));
        Assert.Equal(0, await _db.Value<long>("select count(*) from credits.webhook_deliveries where status <> 'delivered' or attempts <> 1"));
    }

    [Fact]
    public async Task A_claimer_with_an_old_snapshot_is_told_to_come_again()
    {
        await Endpoint();
        var user = await _db.Account();
        await _db.Run(Decline, user);
        await using var stale = await _db.Source.OpenConnectionAsync(Cancel);
        await using var transaction = await stale.BeginTransactionAsync(System.Data.IsolationLevel.RepeatableRead, Cancel);
        Assert.Equal(1, await stale.Value<long>("select count(*) from credits.webhook_deliveries where lease_id is null"));
        Assert.Single(await Claim());
        var error = await Assert.ThrowsAsync<PostgresException>(() => stale.Run("select credits.claim_webhook_deliveries()"));
        Assert.Equal(PostgresErrorCodes.SerializationFailure, error.SqlState);
    }

    [Fact]
    public async Task Claims_reports_declines_erasures_and_operators_never_deadlock()
    {
        await _db.Run("create or replace function credits.clock_now() returns timestamptz language plpgsql volatile set search_path = pg_catalog, pg_temp as $$ begin return clock_timestamp(); end $$");
        var endpoint = await Endpoint();
        var users = await Task.WhenAll(Enumerable.Range(0, 4).Select(_ => _db.Account()));
        var finished = 0;
        Task Loop(int times, Func<int, Task> work) => Task.Run(async () =>
        {
            for (var i = 0; i < times; i++)
                await work(i);
        }, Cancel);
        await Task.WhenAll([
            .. users.Select(user => Loop(60, async i =>
            {
                await _db.Run(Decline, user);
                await _db.Run("select credits.read_notifications($1)", user);
                if (i % 10 == 9)
                    await _db.Run("select credits.erase_user_data($1)", user);
            })),
            .. Enumerable.Range(0, 4).Select(n => Loop(120, async i =>
            {
                foreach (var delivery in await Claim(4, "$1, '1 second', 100"))
                    finished += (await Finish(delivery, (i + n) % 3 > 0)).Text("code") == "ok" ? 1 : 0;
            })),
            Loop(60, _ => _db.Run("select credits.purge_webhook_deliveries('0', '0', 10)")),
            Loop(60, _ => _db.Run(
                """
                update credits.webhook_deliveries set status = 'dead', finished_at = now(), lease_id = null
                where (user_id, delivery_id) in (select user_id, delivery_id from credits.webhook_deliveries where status = 'pending' limit 1 for update skip locked)
                """)),
            Loop(60, _ => _db.Run("select credits.retry_dead_webhooks($1)", endpoint)),
            Loop(60, _ => _db.Run("select credits.set_webhook_endpoint($1)", endpoint)),
            Loop(20, async _ => await _db.Run("select credits.delete_webhook_endpoint($1)", await Endpoint())),
        ]);
        Assert.InRange(finished, 1, int.MaxValue);
    }

    [Fact]
    public async Task Twelve_failures_in_a_day_make_an_event_dead_and_the_account_goes_on()
    {
        var endpoint = await Endpoint();
        var user = await _db.Account();
        await _db.Run(Decline, user);
        await _db.Run("select credits.deduct_credits_for_action($1, 'send_email')", user);
        var started = await _db.Value<DateTime>("select credits.clock_now()");
        var waits = new List<double>();
        JsonElement outcome = default;
        for (var attempt = 1; attempt <= 12; attempt++)
        {
            var delivery = Assert.Single(await Claim());
            Assert.Equal(attempt, delivery.Number("attempt"));
            outcome = await Finish(delivery, false, "answered 500");
            // This test is about the event; the pause of the endpoint has one of its own.
            await _db.Run("select credits.set_webhook_endpoint($1)", endpoint);
            if (attempt == 12)
                break;
            var next = outcome.GetProperty("next_attempt_at").GetDateTimeOffset();
            waits.Add((next - await _db.Value<DateTime>("select credits.clock_now()")).TotalSeconds);
            await _db.SetClock(next.UtcDateTime.AddMilliseconds(-1).ToString("O"));
            Assert.Empty(await Claim());
            await _db.SetClock(next.UtcDateTime.ToString("O"));
        }

        Assert.Equal("dead", outcome.Text("status"));
        double[] expected = [5, 30, 120, 300, 900, 1800, 3600, 7200, 14400, 21600, 36000];
        Assert.All(expected.Zip(waits), pair => Assert.InRange(pair.Second, pair.First, pair.First * 1.2));
        Assert.InRange((await _db.Value<DateTime>("select credits.clock_now()") - started).TotalHours, 23.8, 28.8);
        Assert.Equal("answered 500", await _db.Value<string>("select last_error from credits.get_dead_webhooks()"));

        var following = Assert.Single(await Claim());
        Assert.Equal("send_email", following.GetProperty("data").Text("action_type"));
        var dead = await _db.Value<Guid>("select delivery_id from credits.get_dead_webhooks($1)", endpoint);
        Assert.Equal(1, (await _db.Json("select credits.retry_dead_webhooks(null, $1)", dead)).Number("retried"));
        Assert.Equal("not_found", (await _db.Json("select credits.retry_dead_webhooks(null, $1)", dead)).Text("code"));
        Assert.Empty(await Claim());
        await Finish(following, true);
        var again = Assert.Single(await Claim());
        Assert.Equal((1m, "create_agent"), (again.Number("attempt"), again.GetProperty("data").Text("action_type")));
        await Finish(again, true);
        Assert.Equal(0, await _db.Value<long>("select count(*) from credits.get_dead_webhooks()"));
    }

    [Fact]
    public async Task An_endpoint_may_ask_for_time_but_not_for_more_than_an_hour()
    {
        await Endpoint();
        var user = await _db.Account();
        await _db.Run(Decline, user);
        async Task<double> WaitAfter(string asked) => (DateTimeOffset.Parse(
            (await Finish(Assert.Single(await Claim()), false, "answered 503", asked)).Text("next_attempt_at"), System.Globalization.CultureInfo.InvariantCulture)
            - await _db.Value<DateTime>("select credits.clock_now()")).TotalSeconds;
        Assert.Equal(120, await WaitAfter("2 minutes"));
        await _db.SetClock("2026-03-01 13:00Z");
        Assert.Equal(3600, await WaitAfter("3 days"));
        await _db.SetClock("2026-03-01 14:00Z");
        Assert.InRange(await WaitAfter("1 second"), 120, 144);
    }

    [Fact]
    public async Task An_endpoint_that_fails_for_all_is_paused_and_then_tried_by_one()
    {
        var (broken, sound) = (await Endpoint(), await Endpoint("{notification.*}"));
        for (var i = 0; i < 20; i++)
            await _db.Run(Decline, await _db.Account());
        var claimed = await Claim(100);
        Assert.Equal((8, 8), (claimed.Count(d => At(d) == broken), claimed.Count(d => At(d) == sound)));
        foreach (var delivery in claimed)
            await Finish(delivery, At(delivery) == sound, "answered 500");
        Assert.Equal((5, "2026-03-01T12:00:30+00:00"), await State(broken));
        Assert.Equal((0, ""), await State(sound));

        claimed = await Claim(100);
        Assert.Equal(8, claimed.Count);
        Assert.All(claimed, d => Assert.Equal(sound, At(d)));
        foreach (var delivery in claimed)
            await Finish(delivery, true);
        await _db.SetClock("2026-03-01 12:00:30Z");
        var probes = (await Task.WhenAll(Enumerable.Range(0, 8).Select(_ => Claim(100)))).SelectMany(c => c).ToList();
        var probe = Assert.Single(probes, d => At(d) == broken);
        await Finish(probe, false, "answered 500");
        Assert.Equal((6, "2026-03-01T12:01:30+00:00"), await State(broken));
        await _db.SetClock("2026-03-01 12:01:29Z");
        Assert.DoesNotContain(await Claim(100), d => At(d) == broken);

        await _db.SetClock("2026-03-01 12:01:30Z");
        await Finish(Assert.Single(await Claim(100), d => At(d) == broken), true);
        Assert.Equal((0, ""), await State(broken));
        Assert.Equal(8, (await Claim(100)).Count(d => At(d) == broken));
        Assert.InRange(await _db.Value<int>("select max(attempts) from credits.webhook_deliveries where endpoint_id = $1", broken), 1, 2);

        Guid At(JsonElement d) => d.GetProperty("endpoint_id").GetGuid();
        async Task<(int, string)> State(Guid id) => (
            await _db.Value<int>("select failures from credits.get_webhook_endpoints() where endpoint_id = $1", id),
            await _db.Value<string>("select coalesce(to_json(paused_until) #>> '{}', '') from credits.get_webhook_endpoints() where endpoint_id = $1", id));
    }

    [Fact]
    public async Task A_probe_that_is_never_reported_is_followed_by_another()
    {
        var endpoint = await Endpoint();
        var user = await _db.Account();
        await _db.Run(Decline, user);
        await _db.Run("update credits.webhook_endpoints set failures = 5, paused_until = $1", await _db.Value<DateTime>("select credits.clock_now()"));
        Assert.Single(await Claim());
        Assert.Empty(await Claim());
        await _db.SetClock("2026-03-01 12:01Z");
        var second = Assert.Single(await Claim());
        await Finish(second, true);
        Assert.Equal(0, await _db.Value<int>("select failures from credits.get_webhook_endpoints() where endpoint_id = $1", endpoint));
    }

    [Fact]
    public async Task A_busy_account_or_endpoint_keeps_no_other_waiting()
    {
        var busy = await Endpoint();
        var quiet = await Endpoint("{purchase.*}");
        var chatty = await _db.Account();
        await _db.Run(
            """
            insert into credits.webhook_deliveries (user_id, delivery_id, endpoint_id, event_id, type, data, created_at, moment_no, pending_since, next_attempt_at)
            select $1, gen_random_uuid(), $2, gen_random_uuid(), 'notification.reset', '{}', t, 1, t, t from generate_series('2026-03-01 11:00Z', '2026-03-01 11:50Z', interval '1 second') t
            """, chatty, busy);
        var others = await Task.WhenAll(Enumerable.Range(0, 3).Select(_ => _db.Account()));
        foreach (var other in others)
            await _db.Run("select credits.complete_purchase($1, $2, 'pi' || $1)", other, await Purchase(other));
        var seen = new HashSet<Guid>();
        for (var i = 0; i < 4; i++)
            seen.UnionWith((await Claim(8)).Select(d => d.GetProperty("user_id").GetGuid()));
        Assert.Equal([chatty, .. others], seen.OrderBy(u => u != chatty).ThenBy(u => Array.IndexOf(others, u)));
        Assert.Equal(3, await _db.Value<long>("select count(*) from credits.webhook_deliveries where endpoint_id = $1 and lease_id is not null", quiet));
    }

    [Fact]
    public async Task A_rotated_secret_signs_beside_the_new_one_until_its_time_is_over()
    {
        var endpoint = await Endpoint();
        var user = await _db.Account();
        await _db.Run(Decline, user);
        Assert.Equal("ok", (await _db.Json("select credits.rotate_webhook_secret($1, 'second', '1 hour')", endpoint)).Text("code"));
        var claimed = Assert.Single(await Claim());
        Assert.Equal("[\"second\",\"first\"]", claimed.GetProperty("secrets").GetRawText().Replace(" ", "", StringComparison.Ordinal));
        Assert.Equal(["second", "first"], await _db.Value<string[]>("select secrets from credits.get_webhook_target($1)", endpoint));
        await _db.SetClock("2026-03-01 13:00Z");
        Assert.Equal("[\"second\"]", Assert.Single(await Claim()).GetProperty("secrets").GetRawText());
        Assert.Equal(["second"], await _db.Value<string[]>("select secrets from credits.get_webhook_target($1)", endpoint));
        await _db.Run("select credits.rotate_webhook_secret($1, 'third', '0')", endpoint);
        Assert.Equal(["third"], await _db.Value<string[]>("select secrets from credits.get_webhook_target($1)", endpoint));
    }

    [Fact]
    public async Task A_removed_endpoint_is_sent_nothing_more_and_a_switched_off_one_later()
    {
        var (gone, off) = (await Endpoint(), await Endpoint());
        var user = await _db.Account();
        await _db.Run(Decline, user);
        var claimed = await Claim();
        var late = claimed.Single(d => d.GetProperty("endpoint_id").GetGuid() == gone);
        Assert.Equal(1, (await _db.Json("select credits.delete_webhook_endpoint($1)", gone)).Number("undelivered"));
        Assert.Equal("not_found", (await Finish(late, true)).Text("code"));
        Assert.Equal("not_found", (await _db.Json("select credits.delete_webhook_endpoint($1)", gone)).Text("code"));
        await Finish(claimed.Single(d => d.GetProperty("endpoint_id").GetGuid() == off), false);
        await _db.Run("select credits.set_webhook_endpoint($1, p_is_active => false)", off);
        await _db.SetClock("2026-03-02 12:00Z");
        Assert.Empty(await Claim());
        await _db.Run("select credits.set_webhook_endpoint($1, p_is_active => true)", off);
        await Finish(Assert.Single(await Claim()), true);
    }

    [Fact]
    public async Task Old_deliveries_go_and_what_could_not_be_sent_for_days_is_dead()
    {
        var endpoint = await Endpoint();
        var (delivered, waiting) = (await _db.Account(), await _db.Account());
        await _db.Run(Decline, delivered);
        await Finish(Assert.Single(await Claim()), true);
        await _db.Run("select credits.set_webhook_endpoint($1, p_is_active => false)", endpoint);
        await _db.Run("insert into credits.webhook_deliveries (user_id, delivery_id, endpoint_id, event_id, type, data, created_at, moment_no, pending_since, next_attempt_at) select $1, gen_random_uuid(), $2, gen_random_uuid(), 'notification.reset', '{}', credits.clock_now(), 1, credits.clock_now(), credits.clock_now()", waiting, endpoint);
        await _db.SetClock("2026-03-04 12:00Z");
        Assert.Equal(0, await _db.Value<int>("select credits.purge_webhook_deliveries()"));
        await _db.SetClock("2026-03-04 12:00:01Z");
        Assert.Equal(1, await _db.Value<int>("select credits.purge_webhook_deliveries()"));
        Assert.Equal("not sent", await _db.Value<string>("select last_error from credits.get_dead_webhooks()"));
        Assert.Equal(1, (await _db.Json("select credits.retry_dead_webhooks($1)", endpoint)).Number("retried"));
        Assert.Equal(0, await _db.Value<int>("select credits.purge_webhook_deliveries()"));
        await _db.SetClock("2026-03-09 12:00Z");
        Assert.Equal(2, await _db.Value<int>("select credits.purge_webhook_deliveries()"));
        await _db.SetClock("2026-04-09 12:00Z");
        Assert.Equal(1, await _db.Value<int>("select credits.purge_webhook_deliveries()"));
        Assert.Equal(0, await Count());
    }

    [Fact]
    public async Task Erasing_a_user_erases_its_events()
    {
        await Endpoint();
        var (user, other) = (await _db.Account(), await _db.Account());
        await _db.Run(Decline, user);
        await _db.Run(Decline, user);
        await _db.Run(Decline, other);
        await _db.Run("select credits.erase_user_data($1)", user);
        Assert.Equal([other], await _db.Column<Guid>("select user_id from credits.webhook_deliveries"));
    }

    [Fact]
    public async Task Wrong_arguments_are_refused_by_name()
    {
        var user = await _db.Account();
        var id = await Endpoint();
        const string set = "select credits.set_webhook_endpoint($1, $2, 's')";
        foreach (var url in new[]
        {
            "", "x", "ftp://a.example", "http://a.example", "http://localhost.a.example/", "http://10.0.0.1/", "https://", "https://user@a.example/", "https://a.example/#x",
            "https://a.example/ x", "https://a.example\n", "https://-a.example", "HTTPS://a.example", "https://" + new string('a', 2000),
        })
            await _db.Refuses(user, "p_url", set, Guid.NewGuid(), url);
        foreach (var url in new[] { "https://a.example", "https://a.example:8443/b?c=d", "https://[2606:4700::1111]/", "http://localhost:5000/x", "http://127.0.0.1", "http://[::1]:8/" })
            Assert.Equal("ok", (await _db.Json(set, Guid.NewGuid(), url)).Text("code"));
        while (await _db.Value<long>("select count(*) from credits.webhook_endpoints") < 20)
            await Endpoint();
        await _db.Refuses(user, "p_endpoint_id", set, Guid.NewGuid(), "https://a.example");
        Assert.Equal("ok", (await _db.Json(set, id, "https://b.example")).Text("code"));
        await _db.Refuses(user, "p_endpoint_id", "select credits.set_webhook_endpoint(null, 'https://a.example', 's')");
        await _db.Refuses(user, "p_secret", "select credits.set_webhook_endpoint($1, p_secret => '')", id);
        await _db.Refuses(user, "p_events", "select credits.set_webhook_endpoint($1, p_events => '{}')", id);
        await _db.Refuses(user, "p_events", "select credits.set_webhook_endpoint($1, p_events => '{purchase.complete}')", id);
        await _db.Refuses(user, "p_events", "select credits.set_webhook_endpoint($1, p_events => '{null}')", id);
        await _db.Refuses(user, "p_description", "select credits.set_webhook_endpoint($1, p_description => repeat('x', 201))", id);
        await _db.Refuses(user, "p_secret", "select credits.rotate_webhook_secret($1, null)", id);
        await _db.Refuses(user, "p_overlap", "select credits.rotate_webhook_secret($1, 's', '-1 hours')", id);
        await _db.Refuses(user, "p_limit", "select * from credits.claim_webhook_deliveries(0)");
        await _db.Refuses(user, "p_lease", "select * from credits.claim_webhook_deliveries(1, '0')");
        await _db.Refuses(user, "p_endpoint_limit", "select * from credits.claim_webhook_deliveries(1, '1 minute', null)");
        await _db.Refuses(user, "p_is_delivered", "select credits.finish_webhook_delivery($1, $1, $1, null)", user);
        await _db.Refuses(user, "p_retry_after", "select credits.finish_webhook_delivery($1, $1, $1, false, 'x', '-1 second')", user);
        await _db.Refuses(user, "p_endpoint_id", "select credits.retry_dead_webhooks()");
        await _db.Refuses(user, "p_before", "select * from credits.get_dead_webhooks(p_before => now())");
        await _db.Refuses(user, "p_keep", "select credits.purge_webhook_deliveries('-1 day')");
        await _db.Refuses(user, "p_endpoint_id", "select credits.delete_webhook_endpoint(null)");
        Assert.Equal("not_found", (await _db.Json("select credits.set_webhook_endpoint($1, 'https://a.example')", Guid.NewGuid())).Text("code"));
        Assert.Equal("not_found", (await _db.Json("select credits.rotate_webhook_secret($1, 's')", Guid.NewGuid())).Text("code"));
    }

    private async Task<Guid> Endpoint(string events = "{*}")
    {
        var id = Guid.NewGuid();
        Assert.Equal("ok", (await _db.Json("select credits.set_webhook_endpoint($1, 'https://receiver.example/hook', 'first', $2)", id, events)).Text("code"));
        return id;
    }

    private async Task<Guid> Purchase(Guid user)
    {
        await _db.Run("select credits.set_package('ten', 10, 100, 'EUR')");
        return (await _db.Json("select credits.create_purchase($1, 'ten', 'stripe')", user)).GetProperty("purchase_id").GetGuid();
    }

    private Task<long> Count() => _db.Value<long>("select count(*) from credits.webhook_deliveries");

    private Task<List<string>> Types(Guid user, Guid? endpoint = null) => _db.Column<string>(
        "select type from credits.webhook_deliveries where user_id = $1 and endpoint_id = coalesce($2::uuid, endpoint_id) order by created_at, moment_no", user, endpoint?.ToString());

    private async Task<List<JsonElement>> Claim(int limit = 16, string arguments = "$1, '1 minute'") =>
        [.. (await _db.Column<string>($"select to_jsonb(c)::text from credits.claim_webhook_deliveries({arguments}) c", limit)).Select(row => JsonDocument.Parse(row).RootElement)];

    private Task<JsonElement> Finish(JsonElement delivery, bool isDelivered, string? error = "no answer", string? retryAfter = null) => _db.Json(
        "select credits.finish_webhook_delivery($1, $2, $3, $4, $5, $6)",
        delivery.GetProperty("user_id").GetGuid(), delivery.GetProperty("delivery_id").GetGuid(), delivery.GetProperty("lease_id").GetGuid(), isDelivered, isDelivered ? null : error, retryAfter);
}

using System.Data;
using System.Text.Json;

namespace CreditDb.Tests.Sql;

/// <summary>Automatic top-up buys once when credits run low, within its cap, and stops at the first failure.</summary>
public sealed class TopUpTests : IAsyncLifetime
{
    // A database for each test, as begin_top_ups serves all users of one.
    private readonly TestDatabase _db;

    public TopUpTests(TestServer server) => _db = new TestDatabase(server);

    public ValueTask InitializeAsync() => _db.InitializeAsync();

    public ValueTask DisposeAsync() => _db.DisposeAsync();

    [Fact]
    public async Task It_is_off_until_the_account_switches_it_on_and_buys_once_when_credits_run_low()
    {
        var user = await Saved();
        Assert.Equal("off", (await TopUp(user)).Text("status"));
        await _db.Run("select credits.deduct_credits_for_action($1, 'create_agent', 15)", user);
        Assert.Empty(await Due());
        var set = await Set(user, 30, "starter", 1000);
        Assert.Equal(("on", 30m, 1000m, 0m, true), (set.Text("status"), set.Number("threshold"), set.Number("monthly_cap_minor"), set.Number("spent_minor"), set.Flag("has_payment_method")));
        var due = Assert.Single(await Due());
        Assert.Equal((user, 500m, "USD", "cus_1", "pm_1"), (due.GetProperty("user_id").GetGuid(), due.Number("price_minor"), due.Text("currency"), due.Text("customer_reference"), due.Text("payment_method")));
        Assert.Equal("in_progress", (await TopUp(user)).Text("status"));
        Assert.Empty(await Due());
        await Paid(due);
        Assert.Equal((125m, "on"), (await _db.Balance(user), (await TopUp(user)).Text("status")));
        Assert.Empty(await Due());
    }

    [Fact]
    public async Task Sixteen_hosts_at_once_begin_one_purchase_per_account()
    {
        var users = new List<Guid>();
        for (var i = 0; i < 6; i++)
            users.Add(await Ready(1000));
        var begun = await Task.WhenAll(Enumerable.Range(0, 16).Select(_ => Due()));
        Assert.Equal(users.Order(), begun.SelectMany(b => b).Select(b => b.GetProperty("user_id").GetGuid()).Order());
    }

    [Fact]
    public async Task The_cap_counts_what_was_charged_this_month_of_the_accounts_zone()
    {
        await _db.SetClock("2030-01-31 10:00Z");
        var user = await Ready(1200, "Pacific/Auckland");
        for (var i = 0; i < 2; i++)
        {
            await Paid(Assert.Single(await Due()));
            await _db.Run("select credits.deduct_credits_for_action($1, 'create_agent', 20)", user);
        }
        Assert.Equal(("cap_reached", 1000m), ((await TopUp(user)).Text("status"), (await TopUp(user)).Number("spent_minor")));
        Assert.Empty(await Due());
        // In Auckland the month ends 13 hours before it does in Greenwich.
        await _db.SetClock("2030-01-31 10:59:59Z");
        Assert.Empty(await Due());
        await _db.SetClock("2030-01-31 11:00Z");
        Assert.Equal(0m, (await TopUp(user)).Number("spent_minor"));
        Assert.Single(await Due());
    }

    [Fact]
    public async Task A_payment_that_the_provider_is_still_at_does_not_expire()
    {
        await _db.SetClock("2030-01-01 10:00Z");
        var user = await Ready(5000);
        Assert.Single(await Due());
        await _db.Run("update credits.top_ups set leased_until = 'infinity' where user_id = $1", user);
        await _db.SetClock("2030-01-03 11:00Z");
        Assert.Equal(0, await _db.Value<int>("select credits.expire_purchases()"));
        Assert.Equal(0, (await _db.Json("select credits.get_worker_state()")).GetProperty("lag").Number("purchases"));
        Assert.Equal("in_progress", (await TopUp(user)).Text("status"));
    }

    [Fact]
    public async Task A_payment_that_was_never_heard_of_again_expires_and_stops_it()
    {
        await _db.SetClock("2030-01-01 10:00Z");
        var user = await Ready(5000);
        Assert.Single(await Due());
        await _db.SetClock("2030-01-02 11:00Z");
        Assert.Equal(1, await _db.Value<int>("select credits.expire_purchases()"));
        Assert.NotEqual("in_progress", (await TopUp(user)).Text("status"));
        Assert.Empty(await Due());
        Assert.Equal(1, await _db.Value<long>("select count(*) from credits.notifications where user_id = $1 and type = 'top_up_failed'", user));
    }

    [Fact]
    public async Task A_payment_that_failed_stops_it_is_told_and_is_not_tried_again_until_the_user_acts()
    {
        var user = await Ready(5000);
        var due = Assert.Single(await Due());
        await Event(due, "failed", "Your card was declined.");
        var failed = await TopUp(user);
        Assert.Equal(("failed", "Your card was declined.", 0m), (failed.Text("status"), failed.Text("failure_reason"), failed.Number("spent_minor")));
        Assert.Equal("warning Your card was declined.", await _db.Value<string>("select severity || ' ' || (details ->> 'reason') from credits.notifications where user_id = $1 and type = 'top_up_failed'", user));
        await _db.SetClock("2199-01-01");
        Assert.Empty(await Due());
        Assert.Equal("on", (await Set(user)).Text("status"));
        await Event(Assert.Single(await Due()), "failed", "no");
        Assert.Empty(await Due());
        // So does a purchase that succeeds.
        var bought = (await _db.Json("select credits.create_purchase($1, 'starter', 'stripe')", user)).GetProperty("purchase_id").GetGuid();
        await _db.Run("select credits.complete_purchase($1, $2, 'by hand')", user, bought);
        Assert.Equal("on", (await TopUp(user)).Text("status"));
        Assert.Empty(await Due());
        await _db.Run("select credits.deduct_credits_for_action($1, 'create_agent', 20)", user);
        Assert.Single(await Due());
    }

    [Fact]
    public async Task A_payment_that_arrives_after_it_was_given_up_still_counts_and_resumes()
    {
        var user = await Ready(5000);
        var due = Assert.Single(await Due());
        await Event(due, "failed", "timeout");
        await Paid(due);
        Assert.Equal(("on", 100m, 500m), ((await TopUp(user)).Text("status"), await _db.Balance(user), (await TopUp(user)).Number("spent_minor")));
    }

    [Fact]
    public async Task Payments_that_were_given_up_count_for_the_cap_so_that_it_holds_when_all_arrive_late()
    {
        await _db.SetClock("2030-01-01 00:00Z");
        var user = await Ready(1400);
        var first = Assert.Single(await Due());
        await _db.SetClock("2030-01-01 13:00Z");
        Assert.Empty(await Due());
        Assert.Equal(("failed", 500m), ((await TopUp(user)).Text("status"), (await TopUp(user)).Number("spent_minor")));
        await Set(user);
        var second = Assert.Single(await Due());
        await _db.SetClock("2030-01-02 15:00Z");
        Assert.Equal(1, await _db.Value<int>("select credits.expire_purchases()"));
        Assert.Equal("cap_reached", (await Set(user)).Text("status"));
        Assert.Empty(await Due());
        await Paid(first);
        await Paid(second);
        await _db.Run("select credits.deduct_credits_for_action($1, 'create_agent', 40)", user);
        Assert.Equal(("cap_reached", 1000m, 0m), ((await TopUp(user)).Text("status"), (await TopUp(user)).Number("spent_minor"), await _db.Balance(user)));
        Assert.Empty(await Due());
    }

    [Fact]
    public async Task What_was_given_up_counts_no_more_once_the_provider_says_that_it_failed()
    {
        await _db.SetClock("2030-01-01 00:00Z");
        var user = await Ready(500);
        var due = Assert.Single(await Due());
        await _db.SetClock("2030-01-01 13:00Z");
        Assert.Empty(await Due());
        Assert.Equal("cap_reached", (await Set(user)).Text("status"));
        await Event(due, "failed", "Your card was declined.");
        Assert.Equal(("on", 0m), ((await TopUp(user)).Text("status"), (await TopUp(user)).Number("spent_minor")));
        Assert.Single(await Due());
    }

    [Fact]
    public async Task A_cap_is_in_a_currency_and_holds_for_that_alone()
    {
        var user = await Ready(600);
        await Paid(Assert.Single(await Due()));
        await _db.Run("select credits.deduct_credits_for_action($1, 'create_agent', 20)", user);
        Assert.Equal("cap_reached", (await TopUp(user)).Text("status"));
        // 600 yen are not 600 cents.
        await _db.Run("select credits.set_package('yen', 10, 500, 'JPY')");
        await _db.Refuses(user, "p_monthly_cap_minor", "select credits.set_top_up($1, 'stripe', true, p_package_id => 'yen')", user);
        Assert.Equal(("on", 0m), ((await Set(user, package: "yen", cap: 700)).Text("status"), (await TopUp(user)).Number("spent_minor")));
        await _db.Run("select credits.set_package('yen', p_currency => 'USD')");
        Assert.Equal("currency_changed", (await TopUp(user)).Text("status"));
        Assert.Empty(await Due());
        Assert.Equal("off", (await Set(user, on: false)).Text("status"));
        await _db.Refuses(user, "p_monthly_cap_minor", "select credits.set_top_up($1, 'stripe', true)", user);
        Assert.Equal(("cap_reached", 500m), ((await Set(user, cap: 900)).Text("status"), (await TopUp(user)).Number("spent_minor")));
        Assert.Equal("on", (await Set(user, cap: 1000)).Text("status"));
        Assert.Single(await Due());
    }

    [Fact]
    public async Task A_price_that_rises_at_that_moment_is_held_against_the_cap()
    {
        var user = await Ready(600);
        await using var connection = await _db.Source.OpenConnectionAsync(TestContext.Current.CancellationToken);
        await using var transaction = await connection.BeginTransactionAsync(TestContext.Current.CancellationToken);
        await connection.Run("select credits.set_package('starter', p_price_minor => 700)");
        var due = Due();
        await Eventually.TrueAsync(() => _db.Value<bool>("select exists (select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock')"), "nobody waits for the price");
        await transaction.CommitAsync(TestContext.Current.CancellationToken);
        Assert.Empty(await due);
        Assert.Equal("cap_reached", (await TopUp(user)).Text("status"));
    }

    [Fact]
    public async Task A_host_that_dies_is_followed_by_another_one_with_the_same_purchase_and_not_for_ever()
    {
        await _db.SetClock("2030-01-01 00:00Z");
        var user = await Ready(5000);
        var first = Assert.Single(await Due());
        foreach (var minute in new[] { 10, 20, 30, 40 })
        {
            await _db.SetClock($"2030-01-01 00:{minute - 1}:59Z");
            Assert.Empty(await Due());
            await _db.SetClock($"2030-01-01 00:{minute}Z");
            Assert.Equal(first.Text("purchase_id"), Assert.Single(await Due()).Text("purchase_id"));
        }
        await _db.SetClock("2030-01-01 00:50Z");
        Assert.Empty(await Due());
        Assert.Equal(("failed", "the payment provider did not answer"), ((await TopUp(user)).Text("status"), (await TopUp(user)).Text("failure_reason")));
        // One that comes back after the provider forgot the request charges nothing.
        await Set(user);
        Assert.Single(await Due());
        await _db.SetClock("2030-01-01 13:00Z");
        Assert.Empty(await Due());
        Assert.Equal("failed", (await TopUp(user)).Text("status"));
    }

    [Fact]
    public async Task What_the_provider_is_still_working_on_is_not_asked_again()
    {
        await _db.SetClock("2030-01-01 00:00Z");
        var user = await Ready(5000);
        var due = Assert.Single(await Due());
        await Event(due, "processing");
        await _db.SetClock("2030-01-09 00:00Z");
        Assert.Empty(await Due());
        Assert.Equal("in_progress", (await TopUp(user)).Text("status"));
        await Paid(due);
        Assert.Equal(100, await _db.Balance(user));
    }

    [Fact]
    public async Task Who_switches_it_off_while_it_is_under_way_is_not_charged_by_another_host_and_not_told_of_a_failure()
    {
        await _db.SetClock("2030-01-01 00:00Z");
        var user = await Ready(5000);
        Assert.Single(await Due());
        Assert.Equal("off", (await Set(user, on: false)).Text("status"));
        await _db.SetClock("2030-01-01 00:10Z");
        Assert.Empty(await Due());
        Assert.Equal(("failed", 0L), (await _db.Value<string>("select status from credits.credit_purchases where user_id = $1 and is_top_up", user), await _db.Value<long>("select count(*) from credits.notifications where user_id = $1 and type = 'top_up_failed'", user)));
        Assert.Equal("on", (await Set(user)).Text("status"));
    }

    [Theory]
    [InlineData("refunded", false)]
    [InlineData("disputed", true)]
    public async Task What_was_taken_back_is_not_bought_again_at_once(string kind, bool isDispute)
    {
        var user = await Ready(5000);
        var due = Assert.Single(await Due());
        await Paid(due);
        await _db.Run("select credits.apply_payment_event('stripe', $1, $2, null, null, $3, 500, 'USD', $4)", Guid.NewGuid().ToString(), kind, "pi_" + due.Text("purchase_id"), isDispute ? "du" : null);
        Assert.Equal((0m, "failed"), (await _db.Balance(user), (await TopUp(user)).Text("status")));
        Assert.Empty(await Due());
        Assert.Equal(1, await _db.Value<long>("select count(*) from credits.notifications where user_id = $1 and type = 'top_up_failed'", user));
    }

    [Fact]
    public async Task It_waits_for_a_payment_method_an_active_account_and_a_package_on_sale()
    {
        var user = await _db.Account();
        await _db.Run("select credits.set_package('own', 10, 100, 'USD')");
        Assert.Equal("needs_payment_method", (await Set(user, 5, "own", 100)).Text("status"));
        Assert.Empty(await Due());
        await Buy(user, "pm_1");
        await _db.Run("select credits.deduct_credits_for_action($1, 'create_agent', 20)", user);
        await _db.Run("select credits.set_package('own', p_is_active => false)");
        Assert.Equal("package_not_on_sale", (await TopUp(user)).Text("status"));
        Assert.Empty(await Due());
        await _db.Run("select credits.set_package('own', p_is_active => true)");
        await _db.Run("select credits.suspend_account($1)", user);
        Assert.Equal("account_suspended", (await TopUp(user)).Text("status"));
        Assert.Empty(await Due());
        await _db.Run("select credits.reactivate_account($1)", user);
        Assert.Empty(await Due("sandbox"));
        Assert.Single(await Due());
    }

    [Fact]
    public async Task A_renewal_that_is_due_comes_before_a_purchase()
    {
        await _db.SetClock("2030-01-01 00:00Z");
        var user = Guid.NewGuid();
        await _db.Run("select credits.open_account($1, 'free')", user);
        await Buy(user, "pm_1");
        await _db.Run("select credits.deduct_credits_for_action($1, 'create_agent', 40)", user);
        await _db.SetClock("2030-02-01 00:00Z");
        await Set(user, 20, "starter", 500);
        Assert.Empty(await Due());
        Assert.Equal(100, await _db.Balance(user));
    }

    [Fact]
    public async Task The_latest_payment_method_is_charged()
    {
        var user = await Ready(5000);
        await Buy(user, "pm_2");
        await _db.Run("select credits.deduct_credits_for_action($1, 'create_agent', 20)", user);
        Assert.Equal("pm_2", Assert.Single(await Due()).Text("payment_method"));
    }

    [Theory]
    [InlineData("select credits.set_top_up(null, 'stripe', true, 1, 'starter', 500) where $1 is not null", "p_user_id")]
    [InlineData("select credits.set_top_up($1, 'Stripe', true, 1, 'starter', 500)", "p_provider")]
    [InlineData("select credits.set_top_up($1, 'stripe', null, 1, 'starter', 500)", "p_is_on")]
    [InlineData("select credits.set_top_up($1, 'stripe', true, -1, 'starter', 500)", "p_threshold")]
    [InlineData("select credits.set_top_up($1, 'stripe', true, 'NaN', 'starter', 500)", "p_threshold")]
    [InlineData("select credits.set_top_up($1, 'stripe', true, null, 'starter', 500)", "p_threshold")]
    [InlineData("select credits.set_top_up($1, 'stripe', true, 1, null, 500)", "p_package_id")]
    [InlineData("select credits.set_top_up($1, 'stripe', true, 1, 'starter', null)", "p_monthly_cap_minor")]
    [InlineData("select credits.set_top_up($1, 'stripe', true, 1, 'starter', 0)", "p_monthly_cap_minor")]
    [InlineData("select credits.set_top_up($1, 'stripe', true, 1, 'starter', 499)", "p_monthly_cap_minor")]
    [InlineData("select credits.get_top_up($1, null)", "p_provider")]
    [InlineData("select credits.get_top_up(null, 'stripe') where $1 is not null", "p_user_id")]
    [InlineData("select * from credits.begin_top_ups('Stripe') where $1::uuid is not null", "p_provider")]
    [InlineData("select * from credits.begin_top_ups('stripe', 0) where $1::uuid is not null", "p_limit")]
    public async Task Bad_input_is_named_and_changes_nothing(string sql, string argument) =>
        await _db.Refuses(await _db.Account(5), argument, sql, (await _db.Column<Guid>("select user_id from credits.accounts"))[0]);

    [Fact]
    public async Task Unknown_accounts_and_packages_are_outcomes()
    {
        Assert.Equal("unknown_account", (await _db.Json("select credits.set_top_up(gen_random_uuid(), 'stripe', true, 1, 'starter', 500)")).Text("code"));
        Assert.Equal("unknown_account", (await _db.Json("select credits.get_top_up(gen_random_uuid(), 'stripe')")).Text("code"));
        Assert.Equal("not_found", (await Set(await _db.Account(), 1, "no_such", 500)).Text("code"));
        Assert.Equal("off", (await Set(await _db.Account(), on: false)).Text("status"));
    }

    [Theory]
    [MemberData(nameof(Racing.Levels), MemberType = typeof(Racing))]
    public async Task Charges_settings_and_beginnings_at_once_never_begin_two(IsolationLevel level)
    {
        var user = await Ready(100000);
        var outcomes = await _db.Race(16, level, (connection, i) => (i % 4) switch
        {
            0 => connection.Json("select coalesce(jsonb_agg(b), '[]') from credits.begin_top_ups('stripe') b"),
            1 => connection.Json("select credits.set_top_up($1, 'stripe', true)", user),
            2 => connection.Json("select credits.add_purchased_credits($1, 0.5)", user),
            _ => connection.Json("select credits.deduct_credits_for_action($1, 'send_email')", user),
        });
        Assert.InRange(outcomes.Where(o => o.ValueKind == JsonValueKind.Array).Sum(o => o.GetArrayLength()), 0, 1);
        Assert.InRange(await _db.Value<long>("select count(*) from credits.credit_purchases where user_id = $1 and is_top_up", user), 0, 1);
    }

    private async Task<List<JsonElement>> Due(string provider = "stripe") =>
        [.. (await _db.Json("select coalesce(jsonb_agg(b), '[]') from credits.begin_top_ups($1) b", provider)).EnumerateArray()];

    private Task<JsonElement> TopUp(Guid user) => _db.Json("select credits.get_top_up($1, 'stripe')", user);

    private Task<JsonElement> Set(Guid user, decimal? threshold = null, string? package = null, long? cap = null, bool on = true) =>
        _db.Json("select credits.set_top_up($1, 'stripe', $2, $3::numeric, $4, $5::bigint)", user, on, threshold, package, cap);

    private Task<int> Paid(JsonElement due) => Event(due, "completed");

    private Task<int> Event(JsonElement due, string kind, string? reason = null) => _db.Run(
        "select credits.apply_payment_event('stripe', $1, $2, $3::uuid, $4::uuid, $5, 500, 'USD', p_failure_reason => $6)",
        Guid.NewGuid().ToString(), kind, due.GetProperty("user_id").GetGuid(), due.GetProperty("purchase_id").GetGuid(), "pi_" + due.Text("purchase_id"), reason);

    private async Task Buy(Guid user, string method)
    {
        var purchase = (await _db.Json("select credits.create_purchase($1, 'starter', 'stripe')", user)).GetProperty("purchase_id").GetGuid();
        var bought = await _db.Json("select credits.apply_payment_event('stripe', $3, 'completed', $1, $2, $3, 500, 'USD', p_customer_reference => 'cus_1', p_payment_method => $4)",
            user, purchase, "pi_" + purchase, method);
        Assert.Equal("applied", bought.Text("status"));
    }

    /// <summary>A user with 100 credits and a saved payment method.</summary>
    private async Task<Guid> Saved(string zone = "UTC")
    {
        var user = Guid.NewGuid();
        await _db.Run("select credits.open_account($1, 'paid', $2)", user, zone);
        await Buy(user, "pm_1");
        return user;
    }

    /// <summary>A user without credits whose top-up of 100 for 500 is due.</summary>
    private async Task<Guid> Ready(long cap, string zone = "UTC")
    {
        var user = await Saved(zone);
        await _db.Run("select credits.deduct_credits_for_action($1, 'create_agent', 20)", user);
        await Set(user, 20, "starter", cap);
        return user;
    }
}

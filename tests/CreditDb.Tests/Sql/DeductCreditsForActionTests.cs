using System.Text.Json;

namespace CreditDb.Tests.Sql;

public sealed class DeductCreditsForActionTests(TestDatabase db) : IClassFixture<TestDatabase>
{
    private const string Deduct = "select credits.deduct_credits_for_action($1, $2, $3::numeric)";
    private const string DeductWithKey = "select credits.deduct_credits_for_action($1, $2, $3::numeric, $4::uuid, $5::jsonb, $6)";

    [Fact]
    public async Task Charges_the_price_times_the_quantity_and_logs_it()
    {
        var user = await db.Account(100);
        var result = await db.Json(Deduct, user, "create_agent", 3m);
        Assert.True(result.Flag("success"));
        Assert.Equal("ok", result.Text("code"));
        Assert.Equal("Create Agent", result.Text("action_name"));
        Assert.Equal(15, result.Number("credits_deducted"));
        Assert.Equal(100, result.Number("balance_before"));
        Assert.Equal(85, result.Number("balance_after"));
        Assert.Equal(85, await db.Balance(user));
        Assert.Equal(
            $"{result.Number("log_id")}|create_agent|15.000000|100.000000|85.000000|3.000000",
            await db.Value<string>(
                "select concat_ws('|', id, action_type, amount_used, balance_before, balance_after, quantity) from credits.credit_usage_logs where user_id = $1", user));
    }

    [Fact]
    public async Task Declines_what_the_balance_does_not_cover_and_notifies_once()
    {
        var user = await db.Account(4);
        for (var attempt = 0; attempt < 3; attempt++)
        {
            var result = await db.Json(Deduct, user, "create_agent", 1m);
            Assert.False(result.Flag("success"));
            Assert.Equal("insufficient_credits", result.Text("code"));
            Assert.Equal(5, result.Number("required"));
            Assert.Equal(4, result.Number("available"));
        }
        Assert.Equal(4, await db.Balance(user));
        Assert.Equal(0, await db.Charges(user));
        Assert.Equal("deduction_failed warning 3", await db.Value<string>(
            "select concat_ws(' ', type, severity, repeats) from credits.notifications where user_id = $1", user));
    }

    [Fact]
    public async Task Spends_the_last_credit_exactly()
    {
        var user = await db.Account(5);
        Assert.Equal("ok", (await db.Json(Deduct, user, "create_agent", 1m)).Text("code"));
        Assert.Equal(0, await db.Balance(user));
        Assert.Equal("insufficient_credits", (await db.Json(Deduct, user, "send_email", 1m)).Text("code"));
    }

    [Fact]
    public async Task A_price_above_zero_is_never_rounded_to_nothing()
    {
        var user = await db.Account(1);
        await db.Run("select credits.set_cost('tiny', 0.000001)");
        var result = await db.Json(Deduct, user, "tiny", 0.1m);
        Assert.Equal(0.000001m, result.Number("credits_deducted"));
        Assert.Equal(0.999999m, await db.Balance(user));
    }

    [Fact]
    public async Task Rounds_half_away_from_zero_once()
    {
        var user = await db.Account(1);
        await db.Run("select credits.set_cost('odd', 0.000005)");
        Assert.Equal(0.000003m, (await db.Json(Deduct, user, "odd", 0.5m)).Number("credits_deducted"));
    }

    [Fact]
    public async Task A_free_action_is_logged_at_cost_zero()
    {
        var user = await db.Account(0);
        await db.Run("select credits.set_cost('gratis', 0)");
        var result = await db.Json(Deduct, user, "gratis", 2m);
        Assert.True(result.Flag("success"));
        Assert.Equal(0, result.Number("credits_deducted"));
        Assert.Equal(1, await db.Charges(user));
    }

    [Fact]
    public async Task The_same_key_and_request_charges_once_and_returns_the_stored_result()
    {
        var user = await db.Account(100);
        var reference = Guid.NewGuid();
        var first = await db.Json(DeductWithKey, user, "create_agent", 1m, reference, "{}", "key-1");
        await db.Run("select credits.set_cost('create_agent', p_action_name => 'Renamed')");
        var again = await db.Json(DeductWithKey, user, "create_agent", 1.0m, reference, """{"other": "metadata"}""", "key-1");
        await db.Run("select credits.set_cost('create_agent', p_action_name => 'Create Agent')");
        Assert.False(first.Flag("replayed"));
        Assert.True(again.Flag("replayed"));
        Assert.Equal("Create Agent", again.Text("action_name"));
        Assert.Equal(first.Number("log_id"), again.Number("log_id"));
        Assert.Equal(95, await db.Balance(user));
        Assert.Equal(1, await db.Charges(user));
    }

    [Theory]
    [InlineData("create_agent", 2, false)]
    [InlineData("send_email", 1, false)]
    [InlineData("create_agent", 1, true)]
    public async Task The_same_key_for_another_request_is_refused(string action, int quantity, bool otherReference)
    {
        var user = await db.Account(100);
        await db.Json(DeductWithKey, user, "create_agent", 1m, null, "{}", "key-1");
        var before = await db.Snapshot(user);
        var error = await db.Fails("UC201", DeductWithKey, user, action, (decimal)quantity, otherReference ? Guid.NewGuid() : null, "{}", "key-1");
        Assert.Equal("key_reused", JsonDocument.Parse(error.Detail!).RootElement.Text("code"));
        Assert.Equal(before, await db.Snapshot(user));
    }

    [Fact]
    public async Task A_decline_is_not_remembered_so_a_retry_after_a_top_up_succeeds()
    {
        var user = await db.Account(1);
        Assert.Equal("insufficient_credits", (await db.Json(DeductWithKey, user, "create_agent", 1m, null, "{}", "k")).Text("code"));
        await db.Run("select credits.add_purchased_credits($1, 10)", user);
        Assert.Equal("ok", (await db.Json(DeductWithKey, user, "create_agent", 1m, null, "{}", "k")).Text("code"));
        Assert.Equal(6, await db.Balance(user));
    }

    [Fact]
    public async Task A_key_belongs_to_its_user()
    {
        var (one, other) = (await db.Account(10), await db.Account(10));
        await db.Json(DeductWithKey, one, "create_agent", 1m, null, "{}", "shared");
        Assert.False((await db.Json(DeductWithKey, other, "create_agent", 1m, null, "{}", "shared")).Flag("replayed"));
        Assert.Equal(5, await db.Balance(other));
    }

    [Theory]
    [InlineData("usual", "5", "1")]
    [InlineData("part", "5", "2.5")]
    [InlineData("free", "0", "3")]
    public async Task A_repeated_request_is_answered_as_the_first_was(string action, string price, string quantity)
    {
        await db.Run("select credits.set_cost($1, $2::text::numeric, 'A name', 'unit')", action, price);
        const string Call = "select credits.deduct_credits_for_action($1, $2, $3::text::numeric, '11111111-0000-0000-0000-000000000001', p_idempotency_key => 'k')";
        var user = await db.Account(100);
        var first = (await db.Json(Call, user, action, quantity)).GetRawText().Replace("\"replayed\": false", "\"replayed\": true", StringComparison.Ordinal);
        Assert.Equal(first, (await db.Json(Call, user, action, quantity)).GetRawText());
        Assert.Equal(first, (await db.Json("select to_jsonb(r) - '{request_no,details}'::text[] from credits.deduct_credits_batch(jsonb_build_array(jsonb_build_object('user_id', $1::uuid, 'action_type', $2::text, 'quantity', $3::text::numeric, "
            + "'reference_id', '11111111-0000-0000-0000-000000000001', 'idempotency_key', 'k'))) r", user, action, quantity)).GetRawText());

        // Whatever becomes of the price, the balance and the entry.
        await db.Run("select credits.set_cost($1, 6, 'Another name')", action);
        await db.Run("select credits.grant_credits($1, 7, 'trial')", user);
        Assert.Equal(first, (await db.Json(Call, user, action, quantity)).GetRawText());
        await db.Run("select credits.archive_ledger(clock_timestamp())");
        Assert.Equal(1, await db.Value<long>("select count(*) from credits.credit_ledger_archive where user_id = $1 and idempotency_key = 'k'", user));
        Assert.Equal(first, (await db.Json(Call, user, action, quantity)).GetRawText());
        await db.Fails("UC201", "select credits.deduct_credits_for_action($1, $2, 9, p_idempotency_key => 'k')", user, action);
        await db.Run("select credits.erase_user_data($1)", user);
        await db.Fails("UC202", Call, user, action, quantity);
    }

    [Fact]
    public async Task A_repeated_request_is_answered_as_the_first_was_where_there_was_debt()
    {
        const string Call = "select credits.deduct_credits_for_action($1, 'create_agent', p_idempotency_key => 'k')";
        var user = await db.Account(0);
        var purchase = (await db.Json("select credits.create_purchase($1, 'starter', 'stripe')", user)).Text("purchase_id");
        await db.Run("select credits.complete_purchase($1, $2::text::uuid, 'p')", user, purchase);
        await db.Run("select credits.deduct_credits_for_action($1, 'create_agent')", user);
        await db.Run("select credits.refund_purchase($1, $2::text::uuid)", user, purchase);
        await db.Run("select credits.grant_credits($1, 50, 'trial')", user);
        var first = await db.Json(Call, user);
        Assert.Equal((50m, 45m), (first.Number("available"), first.Number("balance_before")));
        Assert.Equal(first.GetRawText().Replace("\"replayed\": false", "\"replayed\": true", StringComparison.Ordinal), (await db.Json(Call, user)).GetRawText());
    }

    [Fact]
    public async Task A_callers_key_expires_after_30_days()
    {
        var user = await db.Account(20);
        await db.Json(DeductWithKey, user, "create_agent", 1m, null, "{}", "old");
        await db.Run("update credits.credit_ledger set created_at = created_at - interval '30 days' where user_id = $1", user);
        Assert.False((await db.Json(DeductWithKey, user, "create_agent", 2m, null, "{}", "old")).Flag("replayed"));
        Assert.Equal(["", "old"], await db.Column<string>("select coalesce(idempotency_key, '') from credits.credit_ledger where user_id = $1 and kind = 'usage' order by entry_no", user));
        Assert.True((await db.Json(DeductWithKey, user, "create_agent", 2m, null, "{}", "old")).Flag("replayed"));
        Assert.Equal(5, await db.Balance(user));
    }

    [Fact]
    public async Task A_reference_alone_deduplicates_nothing()
    {
        var user = await db.Account(20);
        var reference = Guid.NewGuid();
        for (var i = 0; i < 2; i++)
            await db.Json(DeductWithKey, user, "create_agent", 1m, reference, "{}", null);
        Assert.Equal(10, await db.Balance(user));
        Assert.Equal(2, await db.Value<long>("select count(*) from credits.credit_usage_logs where reference_id = $1", reference));
    }

    [Fact]
    public async Task Monthly_credits_are_spent_before_purchased_ones_and_one_entry_says_how_much_of_each()
    {
        var user = Guid.NewGuid();
        await db.Run("select credits.open_account($1, 'free')", user);
        await db.Run("select credits.add_purchased_credits($1, 50)", user);
        await db.Json(Deduct, user, "create_agent", 19m);
        Assert.Equal("""[{"grant": 1, "amount": 95, "source": "monthly"}]""", await LastSources(user));
        await db.Json(Deduct, user, "create_agent", 2m);
        Assert.Equal("""[{"grant": 1, "amount": 5, "source": "monthly"}, {"grant": 2, "amount": 5, "source": "purchased"}]""", await LastSources(user));
        var balance = await db.Json("select credits.get_credit_balance($1)", user);
        Assert.Equal((0m, 45m), (balance.Number("monthly"), balance.Number("purchased")));
    }

    [Fact]
    public async Task A_grant_with_better_priority_is_spent_first_although_another_was_begun()
    {
        var user = await db.Account(50);
        await db.Json(Deduct, user, "create_agent", 1m);
        await db.Run("select credits.grant_credits($1, 10, 'promotional', now() + interval '1 day')", user);
        await db.Run("select credits.grant_credits($1, 10, 'promotional', now() + interval '1 hour')", user);
        await db.Json(Deduct, user, "create_agent", 5m);
        Assert.Equal(["promotional 4 10", "promotional 3 10", "purchased 1 5"],
            await db.Column<string>(
                """
                select concat_ws(' ', s ->> 'source', s ->> 'grant', s ->> 'amount')
                from (select sources from credits.credit_usage_logs where user_id = $1 order by id desc limit 1) l, jsonb_array_elements(l.sources) s
                """, user));
        // Grant 1 had five taken from it before the others came.
        Assert.Equal(40, await db.Balance(user));
    }

    [Fact]
    public async Task Says_what_is_wrong_with_action_and_account()
    {
        var user = await db.Account(10);
        await db.Run("select credits.set_cost('retired', 1, p_is_active => false)");
        var suspended = await db.Account(10);
        await db.Run("update credits.accounts set status = 'suspended' where user_id = $1", suspended);
        Assert.Equal("unknown_action", (await db.Json(Deduct, user, "no_such_action", 1m)).Text("code"));
        Assert.Equal("inactive_action", (await db.Json(Deduct, user, "retired", 1m)).Text("code"));
        Assert.Equal("unknown_account", (await db.Json(Deduct, Guid.NewGuid(), "create_agent", 1m)).Text("code"));
        Assert.Equal("account_suspended", (await db.Json(Deduct, suspended, "create_agent", 1m)).Text("code"));
        Assert.Equal(10, await db.Balance(user));
        Assert.Equal(10, await db.Balance(suspended));
    }

    public static TheoryData<string?, string?, string?, string?> MalformedArguments => new()
    {
        { "create_agent", "NaN", "{}", null },
        { "create_agent", "Infinity", "{}", null },
        { "create_agent", "-Infinity", "{}", null },
        { "create_agent", "0", "{}", null },
        { "create_agent", "-1", "{}", null },
        { "create_agent", "0.0000001", "{}", null },
        { "create_agent", "1.1234567", "{}", null },
        { "create_agent", "1000000000.000001", "{}", null },
        { "create_agent", "123456789012345678901234567890", "{}", null },
        { "create_agent", "1000000000", "{}", null },
        { "create_agent", null, "{}", null },
        { null, "1", "{}", null },
        { "", "1", "{}", null },
        { new string('a', 1_000_000), "1", "{}", null },
        { "create_agent", "1", "[]", null },
        { "create_agent", "1", "7", null },
        { "create_agent", "1", "null", null },
        { "create_agent", "1", $$"""{"a": "{{new string('x', 1_000_000)}}"}""", null },
        { "create_agent", "1", "{}", "" },
        { "create_agent", "1", "{}", new string('k', 256) },
        { "create_agent", "1", "{}", new string('k', 1_000_000) },
    };

    [Theory]
    [MemberData(nameof(MalformedArguments), DisableDiscoveryEnumeration = true)]
    public async Task Refuses_malformed_arguments_by_name_and_changes_nothing(string? action, string? quantity, string? metadata, string? key)
    {
        var user = await db.Account(100);
        var before = await db.Snapshot(user);
        var error = await db.Fails("UC001", DeductWithKey, user, action, quantity, null, metadata, key);
        var detail = JsonDocument.Parse(error.Detail!).RootElement;
        Assert.Equal("invalid_argument", detail.Text("code"));
        Assert.StartsWith("p_", detail.Text("argument"), StringComparison.Ordinal);
        Assert.Equal(before, await db.Snapshot(user));
    }

    [Fact]
    public async Task Refuses_a_null_user() => await db.Fails("UC001", Deduct, null, "create_agent", 1m);

    [Fact]
    public async Task Metadata_that_is_null_counts_as_none()
    {
        var user = await db.Account(10);
        Assert.True((await db.Json(DeductWithKey, user, "create_agent", 1m, null, null, null)).Flag("success"));
    }

    [Fact]
    public async Task A_rollback_refunds_by_itself_and_forgets_the_key()
    {
        var user = await db.Account(10);
        await using (var connection = await db.Source.OpenConnectionAsync(TestContext.Current.CancellationToken))
        {
            await using var transaction = await connection.BeginTransactionAsync(TestContext.Current.CancellationToken);
            await connection.Json(DeductWithKey, user, "create_agent", 1m, null, "{}", "k");
            await transaction.RollbackAsync(TestContext.Current.CancellationToken);
        }
        Assert.Equal(10, await db.Balance(user));
        Assert.False((await db.Json(DeductWithKey, user, "create_agent", 1m, null, "{}", "k")).Flag("replayed"));
    }

    [Fact]
    public async Task A_savepoint_takes_back_what_came_after_it_only()
    {
        var user = await db.Account(100);
        await using var connection = await db.Source.OpenConnectionAsync(TestContext.Current.CancellationToken);
        await connection.Run("begin");
        await connection.Json(Deduct, user, "create_agent", 1m);
        await connection.Run("savepoint here");
        await connection.Json(Deduct, user, "create_agent", 10m);
        await connection.Run("rollback to savepoint here");
        await connection.Json(Deduct, user, "create_agent", 2m);
        await connection.Run("commit");
        Assert.Equal(85, await db.Balance(user));
        Assert.Equal(2, await db.Charges(user));
    }

    [Fact]
    public async Task Records_who_acted_and_the_price_as_charged()
    {
        var user = await db.Account(100);
        await using var connection = await db.Source.OpenConnectionAsync(TestContext.Current.CancellationToken);
        await connection.Run("begin");
        await connection.Run("select set_config('credits.actor', 'support: jane', true)");
        await connection.Json(Deduct, user, "create_agent", 2m);
        await connection.Run("commit");
        await db.Run("select credits.set_cost('create_agent', 9)");
        await db.Run("select credits.set_cost('create_agent', 5)");
        Assert.Equal("support: jane|t|5.000000|2.000000", await db.Value<string>(
            "select concat_ws('|', actor, session_role = session_user, unit_price, quantity) from credits.credit_ledger where user_id = $1 and kind = 'usage'", user));
    }

    private Task<string> LastSources(Guid user) =>
        db.Value<string>("select sources::text from credits.credit_usage_logs where user_id = $1 order by id desc limit 1", user);
}

namespace CreditDb.Tests.Sql;

/// <summary>What a user had and used before the engine.</summary>
public sealed class ImportTests(TestDatabase db) : IClassFixture<TestDatabase>
{
    [Theory]
    [InlineData("30", "7", 30, 7, 0, 70)]
    [InlineData("250.5", "0", 250.5, 0, 150.5, 0)]
    [InlineData(null, null, 0, 0, 0, 100)]
    [InlineData("100", null, 100, 0, 0, 0)]
    [InlineData("0", "0.000001", 0, 0.000001, 0, 100)]
    public async Task The_old_balance_becomes_the_accounts(string? monthly, string? purchased, double left, double bought, double granted, double revoked)
    {
        var user = Guid.NewGuid();
        await db.Run("select credits.open_account($1)", user);
        var imported = await db.Json("select credits.import_balance($1, $2, $3)", user, monthly, purchased);
        Assert.Equal(((decimal)granted, (decimal)revoked, false), (imported.Number("monthly_granted"), imported.Number("monthly_revoked"), imported.Flag("replayed")));
        var balance = await db.Json("select credits.get_credit_balance($1)", user);
        Assert.Equal(((decimal)left, (decimal)bought), (balance.Number("monthly"), balance.Number("purchased")));
        // What came by import expires with the period, like the rest of it.
        Assert.Equal(0, await db.Value<long>("select count(*) from credits.credit_grants g join credits.wallets w using (user_id, credit_type) where user_id = $1 and credit_type = 'credits' and source = 'monthly' and expires_at <> next_reset_at", user));
    }

    [Fact]
    public async Task Importing_again_also_with_other_amounts_returns_the_first_result()
    {
        var user = Guid.NewGuid();
        await db.Run("select credits.open_account($1)", user);
        await db.Run("select credits.deduct_credits_for_action($1, 'create_agent')", user);
        var first = await db.Json("select credits.import_balance($1, 30, 7)", user);
        Assert.Equal((95m, 37m), (first.Number("balance_before"), first.Number("balance_after")));
        await db.Run("select credits.deduct_credits_for_action($1, 'create_agent')", user);
        var before = await db.Snapshot(user);
        foreach (var call in new[] { "30, 7", "31, 8", "null, null" })
        {
            var again = await db.Json($"select credits.import_balance($1, {call})", user);
            Assert.Equal((true, 30m, 37m), (again.Flag("replayed"), again.Number("monthly"), again.Number("balance_after")));
        }
        Assert.Equal(before, await db.Snapshot(user));
    }

    [Fact]
    public async Task An_imported_balance_is_spent_and_reset_like_any_other()
    {
        var user = Guid.NewGuid();
        await db.SetClock("2031-01-31 12:00+00");
        await db.Run("select credits.open_account($1)", user);
        await db.Run("select credits.import_balance($1, 120, 7)", user);
        await db.SetClock("2031-02-28 12:00+00");
        Assert.Equal(107, await db.Balance(user));
        await db.Run("select credits.deduct_credits_for_action($1, 'create_agent')", user);
        var balance = await db.Json("select credits.get_credit_balance($1)", user);
        Assert.Equal((95m, 7m), (balance.Number("monthly"), balance.Number("purchased")));
        Assert.Empty(await db.Column<string>("select problem from credits.verify_ledger($1)", user));
        await db.Run("create or replace function credits.clock_now() returns timestamptz language sql volatile as 'select clock_timestamp()'");
    }

    [Fact]
    public async Task An_imported_allowance_counts_as_granted_when_the_plan_changes()
    {
        var user = Guid.NewGuid();
        await db.Run("select credits.open_account($1)", user);
        await db.Run("select credits.import_balance($1, 4000, 7)", user);
        Assert.Equal(1000m, (await db.Json("select credits.change_plan($1, 'pro')", user)).GetProperty("granted").Number("credits"));
        Assert.Equal(5007, await db.Balance(user));
    }

    [Theory]
    [InlineData("-1", "0", "p_monthly")]
    [InlineData("'NaN'", "0", "p_monthly")]
    [InlineData("0", "'Infinity'", "p_purchased")]
    [InlineData("0", "-0.5", "p_purchased")]
    [InlineData("0.0000001", "0", "p_monthly")]
    [InlineData("1", "1000000001", "p_purchased")]
    public async Task Refuses_an_amount_that_is_none(string monthly, string purchased, string argument)
    {
        var user = await db.Account(10);
        var before = await db.Snapshot(user);
        Assert.Contains(argument, (await db.Fails("UC001", $"select credits.import_balance($1, {monthly}, {purchased})", user)).Detail, StringComparison.Ordinal);
        Assert.Equal(before, await db.Snapshot(user));
    }

    [Fact]
    public async Task Nobody_is_an_outcome()
    {
        Assert.Equal("unknown_account", (await db.Json("select credits.import_balance($1, 1, 1)", Guid.NewGuid())).Text("code"));
        Assert.Equal("unknown_account", (await db.Json("select credits.import_history($1, '[]')", Guid.NewGuid())).Text("code"));
        await db.Fails("UC001", "select credits.import_balance(null, 1, 1)");
        await db.Fails("UC001", "select credits.import_history(null, '[]')");
    }

    [Fact]
    public async Task Sixteen_importers_at_once_import_one_balance_and_one_history()
    {
        var user = await db.Account();
        var outcomes = await Task.WhenAll(Enumerable.Range(0, 16).Select(n => db.Json("select credits.import_balance($1, $2, 5)", user, n)));
        Assert.Single(outcomes, o => !o.Flag("replayed"));
        Assert.Single(outcomes.Select(o => o.Text("monthly")).Distinct());
        Assert.Equal(outcomes[0].Number("monthly") + 5, await db.Balance(user));

        var imports = await Task.WhenAll(Enumerable.Range(0, 16).Select(n => db.Json(
            "select credits.import_history($1, (select jsonb_agg(jsonb_build_object('id', i, 'action_type', 'a', 'amount_used', 1, 'created_at', '2024-01-01T00:00:00Z')) from generate_series($2::int, $2::int + 9) i))", user, n)));
        Assert.Equal(25, imports.Sum(i => i.Number("imported")));
        Assert.Equal("25 25", await db.Value<string>("select count(*) || ' ' || max(import_no) from credits.imported_usage where user_id = $1", user));
    }

    [Fact]
    public async Task Old_usage_is_listed_beside_the_running_balance()
    {
        var user = await db.Account(10);
        await db.Run("select credits.deduct_credits_for_action($1, 'create_agent')", user);
        var balance = await db.Value<string>("select credits.get_credit_balance($1)::text", user);
        const string entries =
            """
            [{"id": 17, "action_type": "create_agent", "amount_used": 5, "created_at": "2024-02-29T23:00:00-02:00", "metadata": {"a": 1}, "unknown": 1},
             {"id": "c", "action_type": "agent_call_runtime", "amount_used": 2.5, "quantity": 2, "duration_seconds": 61, "call_id": "00000000-0000-0000-0000-0000000000AB", "created_at": "2023-01-01 00:00:00.5+0530", "metadata": null}]
            """;
        var imported = await db.Json("select credits.import_history($1, $2::jsonb)", user, entries);
        Assert.Equal((2m, 0m), (imported.Number("imported"), imported.Number("known")));
        Assert.Equal(
            [
                "-2|create_agent|action||5.000000|||[]|2024-03-01 01:00:00|{\"a\": 1}",
                "-1|agent_call_runtime|call|00000000-0000-0000-0000-0000000000ab|2.500000|61||[]|2022-12-31 18:30:00.5|{}",
                "2|create_agent|action||5.000000||5.000000|[{\"grant\": 1, \"amount\": 5, \"source\": \"purchased\"}]",
            ],
            await db.Column<string>(
                "select concat_ws('|', id, action_type, usage_type, coalesce(call_id::text, ''), amount_used, coalesce(duration_seconds::text, ''), coalesce(balance_after::text, ''), sources, "
                + "case when id < 0 then created_at at time zone 'UTC' || '|' || metadata end) from credits.credit_usage_logs where user_id = $1 order by id", user));
        Assert.Equal(balance, await db.Value<string>("select credits.get_credit_balance($1)::text", user));

        var before = await db.Snapshot(user);
        var again = await db.Json("select credits.import_history($1, $2::jsonb)", user, entries);
        Assert.Equal((0m, 2m), (again.Number("imported"), again.Number("known")));
        Assert.Equal(before, await db.Snapshot(user));
    }

    [Fact]
    public async Task Ten_thousand_entries_at_once_are_imported_and_one_more_is_refused()
    {
        var user = await db.Account();
        const string entries = "(select jsonb_agg(jsonb_build_object('id', i, 'action_type', 'a', 'amount_used', 0, 'created_at', '2024-01-01T00:00:00Z')) from generate_series(1, {0}) i)";
        await db.Fails("UC001", "select credits.import_history($1, " + string.Format(System.Globalization.CultureInfo.InvariantCulture, entries, 10001) + ")", user);
        Assert.Equal(10000, (await db.Json("select credits.import_history($1, " + string.Format(System.Globalization.CultureInfo.InvariantCulture, entries, 10000) + ")", user)).Number("imported"));
    }

    [Theory]
    [InlineData("7", "p_entries[1]")]
    [InlineData("{}", "p_entries[1].id")]
    [InlineData("{\"id\": true}", "p_entries[1].id")]
    [InlineData("{\"id\": \"\"}", "p_entries[1].id")]
    [InlineData("{\"id\": 1}", "p_entries[1].id")]
    [InlineData("{\"action_type\": null}", "p_entries[1].action_type")]
    [InlineData("{\"action_type\": 5}", "p_entries[1].action_type")]
    [InlineData("{\"amount_used\": -1}", "p_entries[1].amount_used")]
    [InlineData("{\"amount_used\": \"5\"}", "p_entries[1].amount_used")]
    [InlineData("{\"amount_used\": \"NaN\"}", "p_entries[1].amount_used")]
    [InlineData("{\"amount_used\": 0.0000001}", "p_entries[1].amount_used")]
    [InlineData("{\"amount_used\": 1e10}", "p_entries[1].amount_used")]
    [InlineData("{\"quantity\": 0}", "p_entries[1].quantity")]
    [InlineData("{\"call_id\": \"abc\"}", "p_entries[1].call_id")]
    [InlineData("{\"duration_seconds\": 1.5}", "p_entries[1].duration_seconds")]
    [InlineData("{\"duration_seconds\": 3000000000}", "p_entries[1].duration_seconds")]
    [InlineData("{\"created_at\": \"2023-02-29T00:00:00Z\"}", "p_entries[1].created_at")]
    [InlineData("{\"created_at\": \"2024-01-01T00:00:00\"}", "p_entries[1].created_at")]
    [InlineData("{\"created_at\": \"2024-13-01T00:00:00Z\"}", "p_entries[1].created_at")]
    [InlineData("{\"created_at\": \"2124-01-01T00:00:00Z\"}", "p_entries[1].created_at")]
    [InlineData("{\"created_at\": \"now\"}", "p_entries[1].created_at")]
    [InlineData("{\"created_at\": 5}", "p_entries[1].created_at")]
    [InlineData("{\"metadata\": []}", "p_entries[1].metadata")]
    public async Task A_malformed_entry_is_named_and_nothing_is_imported(string change, string argument)
    {
        var user = await db.Account(10);
        var before = await db.Snapshot(user);
        const string good = """{"id": 1, "action_type": "a", "amount_used": 1, "created_at": "2024-01-01T00:00:00Z"}""";
        var bad = change is "7" ? change : change is "{}" ? """{"action_type": "a", "amount_used": 1, "created_at": "2024-01-01T00:00:00Z"}"""
            : await db.Value<string>("select ('{\"id\": 2, \"action_type\": \"a\", \"amount_used\": 1, \"created_at\": \"2024-01-01T00:00:00Z\"}'::jsonb || $1::jsonb)::text", change);
        var error = await db.Fails("UC001", "select credits.import_history($1, $2::jsonb)", user, $"[{good}, {bad}]");
        Assert.Contains($"\"{argument}\"", error.Detail, StringComparison.Ordinal);
        Assert.Equal(before, await db.Snapshot(user));
    }

    [Theory]
    [InlineData("{}")]
    [InlineData("null")]
    [InlineData(null)]
    public async Task Refuses_what_is_no_array(string? entries) =>
        Assert.Contains("p_entries", (await db.Fails("UC001", "select credits.import_history($1, $2::jsonb)", await db.Account(), entries)).Detail, StringComparison.Ordinal);
}

namespace CreditDb.Tests.Sql;

public sealed class WrapperTests(TestDatabase db) : IClassFixture<TestDatabase>
{
    [Theory]
    [InlineData("deduct_credits_for_email_send", "send_email", 0.5)]
    [InlineData("deduct_credits_for_prompt_formatting", "prompt_formatting", 1)]
    [InlineData("deduct_credits_for_prompt_generation", "prompt_generation", 2)]
    public async Task Charges_its_action_with_reference_metadata_and_key(string function, string action, double cost)
    {
        var user = await db.Account(10);
        var reference = Guid.NewGuid();
        for (var i = 0; i < 2; i++)
        {
            var result = await db.Json($$"""select credits.{{function}}($1, $2, '{"a": 1}', 'k')""", user, reference);
            Assert.Equal((decimal)cost, result.Number("credits_deducted"));
            Assert.Equal(i == 1, result.Flag("replayed"));
        }
        Assert.Equal($"{action} {reference} {{\"a\": 1}}", await db.Value<string>(
            "select concat_ws(' ', action_type, reference_id, metadata) from credits.credit_usage_logs where user_id = $1", user));
        await db.Fails("UC001", $"select credits.{function}(null)");
        await db.Fails("UC001", $"select credits.{function}($1, null, '[]')", user);
    }

    [Theory]
    [InlineData(1, 5)]
    [InlineData(100, 5)]
    [InlineData(101, 10)]
    [InlineData(1000, 50)]
    public async Task An_import_is_charged_by_the_started_hundred(int emails, int cost)
    {
        var user = await db.Account(100);
        var result = await db.Json("select credits.deduct_credits_for_email_import_batch($1, $2)", user, emails);
        Assert.Equal(cost, result.Number("credits_deducted"));
        Assert.Equal(emails.ToString(System.Globalization.CultureInfo.InvariantCulture),
            await db.Value<string>("select metadata ->> 'email_count' from credits.credit_usage_logs where user_id = $1", user));
    }

    [Theory]
    [InlineData("0", "{}")]
    [InlineData("-1", "{}")]
    [InlineData(null, "{}")]
    [InlineData("5", "7")]
    [InlineData("5", "[]")]
    public async Task An_import_of_nothing_or_with_malformed_metadata_is_refused(string? emails, string metadata) =>
        await db.Fails("UC001", "select credits.deduct_credits_for_email_import_batch($1, $2::integer, $3::jsonb)", await db.Account(10), emails, metadata);

    [Fact]
    public async Task Can_perform_action_says_what_a_deduction_would_do()
    {
        var user = await db.Account(5);
        var yes = await db.Json("select credits.can_perform_action($1, 'create_agent')", user);
        Assert.True(yes.Flag("can_perform"));
        Assert.Equal((5m, 5m, "paid", ""), (yes.Number("credits_needed"), yes.Number("credits_remaining"), yes.Text("account_level"), yes.Text("reason")));
        var no = await db.Json("select credits.can_perform_action($1, 'create_agent', 2)", user);
        Assert.False(no.Flag("can_perform"));
        Assert.Equal(("insufficient_credits", "Not enough credits."), (no.Text("code"), no.Text("reason")));
        Assert.Equal("unknown_action", (await db.Json("select credits.can_perform_action($1, 'nope')", user)).Text("code"));
        Assert.Equal("unknown_account", (await db.Json("select credits.can_perform_action($1, 'create_agent')", Guid.NewGuid())).Text("code"));
        await db.Run("update credits.accounts set status = 'suspended' where user_id = $1", user);
        Assert.Equal("account_suspended", (await db.Json("select credits.can_perform_action($1, 'create_agent')", user)).Text("code"));
        await db.Fails("UC001", "select credits.can_perform_action($1, 'create_agent', 'NaN')", user);
        await db.Fails("UC001", "select credits.can_perform_action(null, 'create_agent')");
    }
}

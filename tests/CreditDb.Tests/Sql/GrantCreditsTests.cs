namespace CreditDb.Tests.Sql;

public sealed class GrantCreditsTests(TestDatabase db) : IClassFixture<TestDatabase>
{
    private const string Grant =
        "select credits.grant_credits($1, $2::numeric, $3, $4::timestamptz, $5::integer, $6, $7::jsonb, $8, $9)";

    [Fact]
    public async Task Adds_a_grant_with_its_ledger_entry()
    {
        var user = await db.Account();
        var result = await db.Json(Grant, user, 25m, "promotional", "2999-01-01", null, "spring", """{"campaign": 7}""", null, "credits");
        Assert.Equal((0m, 25m, 1m), (result.Number("balance_before"), result.Number("balance_after"), result.Number("log_id")));
        Assert.Equal("grant 25.000000 25.000000 spring {\"campaign\": 7}", await db.Value<string>(
            "select concat_ws(' ', kind, amount, balance_after, reference, metadata) from credits.credit_ledger where user_id = $1", user));
        Assert.Equal("promotional 25.000000 20", await db.Value<string>(
            "select concat_ws(' ', source, remaining, priority) from credits.credit_grants where user_id = $1", user));
    }

    [Fact]
    public async Task The_same_key_grants_once_whatever_the_sessions_time_zone()
    {
        var user = await db.Account();
        await using var connection = await db.Source.OpenConnectionAsync(TestContext.Current.CancellationToken);
        foreach (var zone in new[] { "UTC", "Asia/Tokyo" })
        {
            await connection.Run($"set time zone '{zone}'");
            await connection.Run(Grant, user, 10m, "promotional", "2999-01-01 00:00:00+00", null, null, "{}", "promo", "credits");
        }
        Assert.Equal(10, await db.Balance(user));
        await db.Fails("UC201", Grant, user, 11m, "promotional", "2999-01-01 00:00:00+00", null, null, "{}", "promo", "credits");
    }

    [Fact]
    public async Task A_key_of_a_charge_is_no_key_of_a_grant()
    {
        var user = await db.Account(10);
        await db.Run("select credits.deduct_credits_for_action($1, 'send_email', p_idempotency_key => 'k')", user);
        await db.Fails("UC201", "select credits.add_purchased_credits($1, 1, null, 'k')", user);
    }

    [Fact]
    public async Task Purchased_credits_come_with_their_reference_and_never_expire()
    {
        var user = await db.Account();
        await db.Run("select credits.add_purchased_credits($1, 50, 'pay_1', 'pay_1')", user);
        await db.Run("select credits.add_purchased_credits($1, 50, 'pay_1', 'pay_1')", user);
        Assert.Equal(50, (await db.Json("select credits.get_credit_balance($1)", user)).Number("purchased"));
        Assert.Equal(1, await db.Value<long>("select count(*) from credits.credit_grants where user_id = $1 and expires_at is null and priority = 50", user));
    }

    [Fact]
    public async Task Opens_a_wallet_of_another_credit_type_on_the_way()
    {
        var user = await db.Account();
        var minutes = await db.NewCreditType("minutes");
        await db.Run(Grant, user, 3m, "trial", null, null, null, "{}", null, minutes);
        Assert.Equal(3, await db.Balance(user, minutes));
        Assert.Equal(0, await db.Balance(user));
    }

    [Theory]
    [InlineData("select credits.grant_credits($1, 3, 'trial', p_credit_type => 'typo')")]
    [InlineData("select credits.adjust_credits($1, -3, 'why', p_credit_type => 'typo')")]
    [InlineData("select credits.set_threshold($1, 3, 'typo')")]
    [InlineData("select credits.refund_credits($1, 1, p_credit_type => 'typo')")]
    public async Task A_credit_type_that_nothing_names_is_refused_and_opens_no_wallet(string sql)
    {
        var user = await db.Account(10);
        var before = await db.Snapshot(user);
        await db.Fails("UC001", sql, user);
        Assert.Equal(before, await db.Snapshot(user));
    }

    [Fact]
    public async Task Nobody_gets_nothing() =>
        Assert.Equal("unknown_account", (await db.Json(Grant, Guid.NewGuid(), 3m, "trial", null, null, null, "{}", null, "credits")).Text("code"));

    public static TheoryData<string?, string?, string?, string?, string?, string?, string?> MalformedArguments => new()
    {
        { "NaN", "trial", null, null, null, "{}", "credits" },
        { "Infinity", "trial", null, null, null, "{}", "credits" },
        { "0", "trial", null, null, null, "{}", "credits" },
        { "-5", "trial", null, null, null, "{}", "credits" },
        { "0.0000001", "trial", null, null, null, "{}", "credits" },
        { "1000000001", "trial", null, null, null, "{}", "credits" },
        { null, "trial", null, null, null, "{}", "credits" },
        { "1", "gift", null, null, null, "{}", "credits" },
        { "1", null, null, null, null, "{}", "credits" },
        { "1", "trial", "2001-01-01", null, null, "{}", "credits" },
        { "1", "trial", "infinity", null, null, "{}", "credits" },
        { "1", "trial", "-infinity", null, null, "{}", "credits" },
        { "1", "purchased", "2999-01-01", null, null, "{}", "credits" },
        { "1", "trial", null, "-1", null, "{}", "credits" },
        { "1", "trial", null, null, "", "{}", "credits" },
        { "1", "trial", null, null, new string('r', 256), "{}", "credits" },
        { "1", "trial", null, null, null, "[1]", "credits" },
        { "1", "trial", null, null, null, "{}", "Bad Type" },
        { "1", "trial", null, null, null, "{}", null },
    };

    [Theory]
    [MemberData(nameof(MalformedArguments), DisableDiscoveryEnumeration = true)]
    public async Task Refuses_malformed_arguments_by_name_and_changes_nothing(
        string? amount, string? source, string? expires, string? priority, string? reference, string? metadata, string? creditType)
    {
        var user = await db.Account(1);
        var before = await db.Snapshot(user);
        var error = await db.Fails("UC001", Grant, user, amount, source, expires, priority, reference, metadata, null, creditType);
        Assert.Contains("invalid_argument", error.Detail, StringComparison.Ordinal);
        Assert.Equal(before, await db.Snapshot(user));
    }

    [Fact]
    public async Task Refuses_what_would_lift_the_balance_out_of_range()
    {
        var user = await db.Account();
        await db.Run("select credits.grant_credits($1, 1000000000, 'promotional')", user);
        await db.Run("update credits.wallets set balance = 10000000000000 where user_id = $1 and credit_type = 'credits'", user);
        await db.Fails("UC001", "select credits.grant_credits($1, 1, 'promotional')", user);
        await db.Run("update credits.wallets set balance = 1000000000 where user_id = $1 and credit_type = 'credits'", user);
    }
}

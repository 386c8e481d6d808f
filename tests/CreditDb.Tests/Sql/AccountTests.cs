namespace CreditDb.Tests.Sql;

public sealed class AccountTests(TestDatabase db) : IClassFixture<TestDatabase>
{
    [Fact]
    public async Task Opening_an_account_grants_the_plans_allowances()
    {
        var user = Guid.NewGuid();
        var account = await db.Json("select credits.open_account($1)", user);
        Assert.True(account.Flag("opened"));
        Assert.Equal("free", account.Text("plan_id"));
        var balance = await db.Json("select credits.get_credit_balance($1)", user);
        Assert.Equal((100m, 100m, 0m), (balance.Number("total"), balance.Number("monthly"), balance.Number("purchased")));
        Assert.NotEqual("", balance.Text("next_monthly_reset"));
        Assert.Equal(20, await db.Balance(user, "chat_messages"));
        Assert.Equal(["chat_messages trial never", "credits monthly expires"], await db.Column<string>(
            "select concat_ws(' ', credit_type, source, case when expires_at is null then 'never' else 'expires' end) from credits.credit_grants where user_id = $1 order by 1", user));
    }

    [Fact]
    public async Task Opening_it_again_changes_nothing()
    {
        var user = Guid.NewGuid();
        await db.Run("select credits.open_account($1, 'free', 'Europe/Berlin')", user);
        var before = await db.Snapshot(user);
        var again = await db.Json("select credits.open_account($1, 'pro', 'UTC')", user);
        Assert.False(again.Flag("opened"));
        Assert.Equal(("free", "Europe/Berlin"), (again.Text("plan_id"), again.Text("time_zone")));
        Assert.Equal(before, await db.Snapshot(user));
    }

    [Fact]
    public async Task Twenty_callers_open_one_account_and_grant_once()
    {
        var user = Guid.NewGuid();
        var opened = await Task.WhenAll(Enumerable.Range(0, 20).Select(_ => db.Json("select credits.open_account($1)", user)));
        Assert.Single(opened, o => o.Flag("opened"));
        Assert.Equal(100, await db.Balance(user));
    }

    [Theory]
    [InlineData("no-such-plan", "UTC", "p_plan_id")]
    [InlineData(null, "UTC", "p_plan_id")]
    [InlineData("free", "Mars/Olympus", "p_time_zone")]
    [InlineData("free", "EST5EDT4", "p_time_zone")]
    [InlineData("free", "+02", "p_time_zone")]
    [InlineData("free", "Mars/Base7", "p_time_zone")]
    [InlineData("free", "Europe/Berlln-3", "p_time_zone")]
    [InlineData("free", "", "p_time_zone")]
    [InlineData("free", null, "p_time_zone")]
    public async Task Refuses_an_unknown_plan_or_time_zone(string? plan, string? zone, string argument)
    {
        var user = Guid.NewGuid();
        var error = await db.Fails("UC001", "select credits.open_account($1, $2, $3)", user, plan, zone);
        Assert.Contains(argument, error.Detail, StringComparison.Ordinal);
        Assert.Equal("", await db.Snapshot(user));
    }

    [Theory]
    [InlineData("UTC")]
    [InlineData("Europe/Berlin")]
    [InlineData("America/Argentina/Buenos_Aires")]
    [InlineData("America/Port-au-Prince")]
    [InlineData("Etc/GMT+3")]
    public async Task Takes_a_time_zone_of_the_IANA_database(string zone) =>
        Assert.Equal(zone, (await db.Json("select credits.open_account($1, 'free', $2)", Guid.NewGuid(), zone)).Text("time_zone"));

    [Fact]
    public async Task Refuses_a_null_user() => await db.Fails("UC001", "select credits.open_account(null)");

    [Fact]
    public async Task The_balance_of_nobody_is_an_outcome_and_a_wallet_never_used_is_empty()
    {
        Assert.Equal("unknown_account", (await db.Json("select credits.get_credit_balance($1)", Guid.NewGuid())).Text("code"));
        var balance = await db.Json("select credits.get_credit_balance($1, 'tokens')", await db.Account(3));
        Assert.Equal((0m, 0m, ""), (balance.Number("total"), balance.Number("entry_no"), balance.Text("next_monthly_reset")));
        await db.Fails("UC001", "select credits.get_credit_balance(null)");
    }

    [Fact]
    public async Task User_ids_are_the_uuid5_that_any_library_computes()
    {
        // uuid.uuid5(uuid.uuid5(uuid.NAMESPACE_URL, 'https://clerk.example'), 'user_1') in Python.
        Assert.Equal(Guid.Parse("501f72c1-000e-56e1-b7aa-dda9a2696078"),
            await db.Value<Guid>("select credits.user_id_for('https://clerk.example', 'user_1')"));
        Assert.NotEqual(await db.Value<Guid>("select credits.user_id_for('a', 'bc')"), await db.Value<Guid>("select credits.user_id_for('ab', 'c')"));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(54)]
    [InlineData(55)]
    [InlineData(56)]
    [InlineData(63)]
    [InlineData(64)]
    [InlineData(119)]
    [InlineData(1000)]
    public async Task The_hash_behind_them_is_sha1(int length)
    {
        var data = Enumerable.Range(0, length).Select(i => (byte)(i * 7)).ToArray();
#pragma warning disable CA5350 // What is tested is SHA-1 itself.
        Assert.Equal(System.Security.Cryptography.SHA1.HashData(data), await db.Value<byte[]>("select credits.sha1($1)", data));
#pragma warning restore CA5350
    }

    [Theory]
    [InlineData(null, "a")]
    [InlineData("a", null)]
    [InlineData("", "a")]
    [InlineData("a", "")]
    public async Task An_id_needs_an_issuer_and_a_subject(string? issuer, string? subject) =>
        await db.Fails("UC001", "select credits.user_id_for($1, $2)", issuer, subject);
}

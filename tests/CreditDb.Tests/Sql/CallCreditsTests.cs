namespace CreditDb.Tests.Sql;

/// <summary>deduct_call_credits and the trigger on public.calls, which share a call's identity.</summary>
public sealed class CallCreditsTests(TestDatabase db) : IClassFixture<TestDatabase>
{
    private const string Deduct = "select credits.deduct_call_credits($1, $2, $3, $4::jsonb)";

    [Theory]
    [InlineData(1, 1)]
    [InlineData(30, 1)]
    [InlineData(60, 1)]
    [InlineData(61, 2)]
    [InlineData(90, 2)]
    [InlineData(3600, 60)]
    public async Task Charges_started_minutes(int seconds, int minutes)
    {
        var user = await db.Account(100);
        var call = Guid.NewGuid();
        var result = await db.Json(Deduct, user, call, seconds, """{"telephony": 0.4}""");
        Assert.Equal(minutes, result.Number("credits_deducted"));
        Assert.Equal($"{call} call {minutes}.000000 {seconds} 1.000000 {{\"telephony\": 0.4}}", await db.Value<string>(
            "select concat_ws(' ', call_id, usage_type, amount_used, duration_seconds, rate_per_minute, cost_breakdown) from credits.credit_usage_logs where user_id = $1", user));
        Assert.Equal(minutes, await Minutes(user));
    }

    [Fact]
    public async Task The_price_comes_from_credit_costs()
    {
        var user = await db.Account(100);
        await db.Run("select credits.set_cost('agent_call_runtime', 1.5)");
        Assert.Equal(3, (await db.Json(Deduct, user, Guid.NewGuid(), 90, "{}")).Number("credits_deducted"));
        await db.Run("select credits.set_cost('agent_call_runtime', 1)");
    }

    [Fact]
    public async Task The_first_charge_of_a_call_wins_and_the_rest_replays()
    {
        var user = await db.Account(100);
        var call = Guid.NewGuid();
        var first = await db.Json(Deduct, user, call, 90, "{}");
        var again = await db.Json(Deduct, user, call, 900, "{}");
        Assert.True(again.Flag("replayed"));
        Assert.Equal((2m, first.Number("log_id")), (again.Number("credits_deducted"), again.Number("log_id")));
        Assert.Equal(98, await db.Balance(user));
        Assert.Equal(2, await Minutes(user));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(-5)]
    [InlineData(null)]
    public async Task Refuses_seconds_that_are_none(int? seconds)
    {
        var user = await db.Account(10);
        await db.Fails("UC001", Deduct, user, Guid.NewGuid(), seconds, "{}");
        Assert.Equal(10, await db.Balance(user));
    }

    [Fact]
    public async Task Refuses_missing_ids_and_a_malformed_breakdown()
    {
        var user = await db.Account(10);
        await db.Fails("UC001", Deduct, null, Guid.NewGuid(), 10, "{}");
        await db.Fails("UC001", Deduct, user, null, 10, "{}");
        await db.Fails("UC001", Deduct, user, Guid.NewGuid(), 10, "[]");
        Assert.Equal("insufficient_credits", (await db.Json(Deduct, user, Guid.NewGuid(), int.MaxValue, "{}")).Text("code"));
    }

    [Fact]
    public async Task A_call_updated_to_completed_is_charged_once_however_often_it_completes()
    {
        var user = await db.Account(100);
        var call = await Call(user, "in_progress", null);
        Assert.Equal(100, await db.Balance(user));
        await db.Run("update public.calls set status = 'completed', duration_seconds = 90 where id = $1", call);
        Assert.Equal(98, await db.Balance(user));
        await db.Run("update public.calls set duration_seconds = 600 where id = $1", call);
        await db.Run("update public.calls set status = 'disputed' where id = $1", call);
        await db.Run("update public.calls set status = 'completed' where id = $1", call);
        await db.Run("update public.calls set duration_seconds = null where id = $1", call);
        await db.Run("update public.calls set duration_seconds = 700 where id = $1", call);
        Assert.Equal(98, await db.Balance(user));
        Assert.Equal(2, await Minutes(user));
        Assert.True((await db.Json(Deduct, user, call, 700, "{}")).Flag("replayed"));
    }

    [Fact]
    public async Task A_call_inserted_as_completed_is_charged()
    {
        var user = await db.Account(100);
        await db.Run("insert into public.calls (user_id, status, duration_seconds) values ($1, 'completed', 61), ($1, 'completed', 0), ($1, 'completed', null), ($1, 'failed', 99)", user);
        Assert.Equal(98, await db.Balance(user));
        Assert.Equal(1, await db.Charges(user));
    }

    [Theory]
    [InlineData(null)]
    [InlineData(0)]
    public async Task A_completed_call_without_seconds_waits_for_them(int? seconds)
    {
        var user = await db.Account(100);
        var call = await Call(user, "in_progress", null);
        await db.Run("update public.calls set status = 'completed', duration_seconds = $2::integer where id = $1", call, seconds?.ToString(System.Globalization.CultureInfo.InvariantCulture));
        Assert.Equal(100, await db.Balance(user));
        await db.Run("update public.calls set duration_seconds = 45 where id = $1", call);
        Assert.Equal(99, await db.Balance(user));
    }

    [Fact]
    public async Task A_before_trigger_that_completes_the_call_does_not_get_round_the_charge()
    {
        var user = await db.Account(100);
        var call = await Call(user, "in_progress", 30);
        await db.Run("create function public.finish() returns trigger language plpgsql as $$ begin new.status := 'completed'; return new; end $$");
        await db.Run("create trigger a_finish before update on public.calls for each row execute function public.finish()");
        try
        {
            await db.Run("update public.calls set phone_number = '1' where id = $1", call);
        }
        finally
        {
            await db.Run("drop trigger a_finish on public.calls");
            await db.Run("drop function public.finish()");
        }
        Assert.Equal(99, await db.Balance(user));
    }

    [Fact]
    public async Task Explicit_call_first_then_the_row()
    {
        var user = await db.Account(100);
        var call = Guid.NewGuid();
        await db.Run(Deduct, user, call, 90, "{}");
        await db.Run("insert into public.calls (id, user_id, status, duration_seconds) values ($1, $2, 'completed', 600)", call, user);
        Assert.Equal(98, await db.Balance(user));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task A_charged_call_that_gets_another_id_or_user_is_not_charged_again(bool otherUser)
    {
        var (user, other) = (await db.Account(100), await db.Account(100));
        var call = await Call(user, "in_progress", null);
        await db.Run("update public.calls set status = 'completed', duration_seconds = 90 where id = $1", call);
        var newId = otherUser ? call : Guid.NewGuid();
        await db.Run("update public.calls set id = $2, user_id = $3, status = 'again' where id = $1", call, newId, otherUser ? other : user);
        await db.Run("update public.calls set status = 'completed' where id = $1", newId);
        Assert.Equal((98m, 100m), (await db.Balance(user), await db.Balance(other)));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task An_uncharged_call_that_moves_is_owed_once(bool otherUser)
    {
        var (user, other) = (await db.Account(), await db.Account(100));
        var call = await Call(user, "in_progress", null);
        await db.Run("update public.calls set status = 'completed', duration_seconds = 90 where id = $1", call);
        var newId = otherUser ? call : Guid.NewGuid();
        await db.Run("update public.calls set id = $2, user_id = $3, status = 'again' where id = $1", call, newId, otherUser ? other : user);
        await db.Run("select credits.add_purchased_credits($1, 100)", user);
        await db.Run("update public.calls set status = 'completed' where id = $1", newId);
        await db.Run("select credits.charge_uncharged($1)", user);
        await db.Run("select credits.charge_uncharged($1)", other);
        Assert.Equal((98m, 100m), (await db.Balance(user), await db.Balance(other)));
        Assert.Equal(0, await db.Value<long>("select count(*) from credits.uncharged_rows where user_id in ($1, $2)", user, other));
    }

    [Fact]
    public async Task An_uncharged_call_that_moves_to_another_user_and_back_is_still_owed()
    {
        var (user, other) = (await db.Account(), await db.Account());
        var call = await Call(user, "completed", 600);
        await db.Run("update public.calls set user_id = $2 where id = $1", call, other);
        await db.Run("update public.calls set user_id = $2 where id = $1", call, user);
        await db.Run("select credits.add_purchased_credits($1, 100)", user);
        Assert.Equal(10, (await db.Json("select credits.charge_uncharged($1)", user)).GetProperty("deducted").Number("credits"));
        Assert.Equal(90, await db.Balance(user));
    }

    [Fact]
    public async Task A_call_that_comes_back_to_its_user_is_still_the_charged_one()
    {
        var (one, other) = (await db.Account(100), await db.Account(100));
        var call = await db.Value<Guid>("insert into public.calls (user_id, status, duration_seconds) values ($1, 'completed', 90) returning id", one);
        var first = (await db.Json("select credits.deduct_call_credits($1, $2, 90)", one, call)).GetRawText();
        Assert.Contains("\"credits_deducted\": 2", first, StringComparison.Ordinal);
        await db.Run("update public.calls set user_id = $2 where id = $1", call, other);
        Assert.Contains("\"log_id\": null", (await db.Json("select credits.deduct_call_credits($1, $2, 90)", other, call)).GetRawText(), StringComparison.Ordinal);
        await db.Run("update public.calls set user_id = $2 where id = $1", call, one);
        Assert.Equal(first, (await db.Json("select credits.deduct_call_credits($1, $2, 90)", one, call)).GetRawText());
        await db.Run("select credits.deduct_credits_for_action($1, 'send_email')", one);
        await db.Run("select credits.archive_ledger(credits.clock_now())");
        Assert.Equal(first, (await db.Json("select credits.deduct_call_credits($1, $2, 90)", one, call)).GetRawText());
    }

    [Fact]
    public async Task A_call_that_could_not_be_paid_is_listed_until_it_is_settled_or_charged_explicitly()
    {
        var user = await db.Account();
        var (one, two) = (await Call(user, "in_progress", null), await Call(user, "in_progress", null));
        await db.Run("update public.calls set status = 'completed', duration_seconds = 90 where user_id = $1", user);
        Assert.Equal(2, await db.Value<long>("select count(*) from credits.uncharged_rows where user_id = $1", user));
        Assert.Equal(0, await Minutes(user));
        await db.Run("select credits.add_purchased_credits($1, 10)", user);
        await db.Run("update public.calls set status = 'x' where id = $1", one);
        await db.Run("update public.calls set status = 'completed' where id = $1", one);
        Assert.Equal(10, await db.Balance(user));
        await db.Run(Deduct, user, two, 90, "{}");
        Assert.Equal(1, (await db.Json("select credits.charge_uncharged($1)", user)).Number("rows_charged"));
        Assert.Equal(0, await db.Value<long>("select count(*) from credits.uncharged_rows where user_id = $1", user));
        Assert.Equal(4, await Minutes(user));
        Assert.Equal(6, await db.Balance(user));
    }

    private Task<long> Minutes(Guid user) => db.Value<long>("select total_minutes_used from credits.accounts where user_id = $1", user);

    private Task<Guid> Call(Guid user, string status, int? seconds) => db.Value<Guid>(
        "insert into public.calls (user_id, status, duration_seconds) values ($1, $2, $3::integer) returning id",
        user, status, seconds?.ToString(System.Globalization.CultureInfo.InvariantCulture));
}

using System.Text.Json.Nodes;
using System.Transactions;

namespace CreditDb.Tests.Client;

/// <summary>Charges that are asked for at the same time: together, and yet each by itself.</summary>
public sealed class ChargeLanesTests(TestDatabase db) : IClassFixture<TestDatabase>
{
    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    private CreditClient Client => new(db.Source);

    [Fact]
    public async Task Many_callers_of_one_account_are_each_accepted_or_declined()
    {
        var (client, user) = (Client, await db.Account(200));
        var outcomes = await Task.WhenAll(Enumerable.Range(0, 400).Select(_ => client.TryDeductAsync(user, "weekly_report", ct: Ct)));
        Assert.Equal((200, 200), (outcomes.Count(o => o.Success), outcomes.Count(o => o.Code == "insufficient_credits")));
        Assert.Equal(200, outcomes.Where(o => o.Success).Select(o => o.LogId).Distinct().Count());
        Assert.Equal((0m, 200L), (await db.Balance(user), await db.Charges(user)));
        // Most of them went together.
        Assert.True(await db.Value<long>("select count(distinct xmin::text) from credits.credit_ledger where user_id = $1 and kind = 'usage'", user) < 100);
    }

    [Fact]
    public async Task A_poisoned_request_fails_alone_and_as_it_would_by_itself()
    {
        var (client, user) = (Client, await db.Account(1000));
        await client.DeductAsync(user, "send_email", idempotencyKey: "used", ct: Ct);
        var good = Enumerable.Range(0, 60).Select(_ => client.DeductAsync(user, "weekly_report", ct: Ct)).ToList();
        var negative = client.DeductAsync(user, "weekly_report", -1, ct: Ct);
        var fine = client.DeductAsync(user, "weekly_report", 0.0000001m, ct: Ct);
        var nul = client.DeductAsync(user, "weekly_report", metadata: new JsonObject { ["a"] = "\0" }, ct: Ct);
        var large = client.DeductAsync(user, "weekly_report", metadata: new JsonObject { ["a"] = new string('x', 20_000) }, ct: Ct);
        var unknown = client.DeductAsync(user, "no_such_action", ct: Ct);
        var nobody = client.DeductAsync(Guid.NewGuid(), "weekly_report", ct: Ct);
        var reused = client.DeductAsync(user, "weekly_report", idempotencyKey: "used", ct: Ct);
        good.AddRange(Enumerable.Range(0, 60).Select(_ => client.DeductAsync(user, "weekly_report", ct: Ct)));

        Assert.All(await Task.WhenAll(good), charge => Assert.Equal(1, charge.CreditsDeducted));
        var error = await Assert.ThrowsAsync<InvalidArgumentException>(() => negative);
        var single = await Assert.ThrowsAsync<InvalidArgumentException>(() => Client.DeductAsync(user, "weekly_report", -1, ct: Ct));
        Assert.Equal(single.Message, error.Message);
        Assert.True(JsonNode.DeepEquals(JsonNode.Parse(single.Detail!), JsonNode.Parse(error.Detail!)), error.Detail);
        await Assert.ThrowsAsync<InvalidArgumentException>(() => fine);
        await Assert.ThrowsAnyAsync<Exception>(() => nul);
        await Assert.ThrowsAsync<InvalidArgumentException>(() => large);
        Assert.Equal("unknown_action", (await Assert.ThrowsAsync<CreditException>(() => unknown)).Code);
        await Assert.ThrowsAsync<UnknownAccountException>(() => nobody);
        Assert.Equal("key_reused", (await Assert.ThrowsAsync<IdempotencyKeyException>(() => reused)).Code);
        Assert.Equal((1000 - 0.5m - 120, 121L), (await db.Balance(user), await db.Charges(user)));
    }

    [Fact]
    public async Task An_account_that_somebody_has_locked_holds_nobody_else_up()
    {
        var client = Client;
        var locked = await db.Account(10);
        var others = await Task.WhenAll(Enumerable.Range(0, 20).Select(_ => db.Account(10)));
        await using var connection = await db.Source.OpenConnectionAsync(Ct);
        await using var transaction = await connection.BeginTransactionAsync(Ct);
        await connection.Run("select 1 from credits.wallets where user_id = $1 for no key update", locked);

        var stuck = Enumerable.Range(0, 3).Select(_ => client.DeductAsync(locked, "weekly_report", ct: Ct)).ToList();
        await Task.WhenAll(others.SelectMany(user => Enumerable.Range(0, 5).Select(_ => client.DeductAsync(user, "weekly_report", ct: Ct)))).WaitAsync(TimeSpan.FromSeconds(20), Ct);
        Assert.DoesNotContain(stuck, task => task.IsCompleted);

        await transaction.RollbackAsync(Ct);
        Assert.All(await Task.WhenAll(stuck), charge => Assert.True(charge.Success));
        Assert.Equal(7, await db.Balance(locked));
    }

    [Fact]
    public async Task A_caller_who_gives_up_while_waiting_is_not_charged()
    {
        var (client, user) = (Client, await db.Account(100));
        using var patience = new CancellationTokenSource();
        await using var connection = await db.Source.OpenConnectionAsync(Ct);
        await using var transaction = await connection.BeginTransactionAsync(Ct);
        await connection.Run("lock table credits.credit_costs");
        var before = Enumerable.Range(0, 5).Select(_ => client.DeductAsync(user, "weekly_report", ct: Ct)).ToList();
        await Eventually.TrueAsync(
            async () => await db.Value<long>("select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'") >= 2,
            "the first request and those behind it do not wait for the prices");

        // Those are under way, so this one waits in the lane.
        var given = client.DeductAsync(user, "create_agent", ct: patience.Token);
        await patience.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => given);
        await transaction.RollbackAsync(Ct);
        await Task.WhenAll(before);
        await client.DeductAsync(user, "weekly_report", ct: Ct);
        Assert.Equal(94, await db.Balance(user));
    }

    [Fact]
    public async Task A_caller_who_gives_up_at_a_locked_account_is_not_charged()
    {
        const string Waiting = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
        var (client, user) = (Client, await db.Account(100));
        using var patience = new CancellationTokenSource();
        await using var connection = await db.Source.OpenConnectionAsync(Ct);
        await using var transaction = await connection.BeginTransactionAsync(Ct);
        await connection.Run("select 1 from credits.wallets where user_id = $1 for no key update", user);
        var given = Enumerable.Range(0, 4).Select(_ => client.DeductAsync(user, "create_agent", ct: patience.Token)).ToList();
        await Eventually.TrueAsync(async () => await db.Value<long>(Waiting) >= 2, "the first caller and the first of those behind do not wait for the account");

        await patience.CancelAsync();
        foreach (var one in given)
            await Assert.ThrowsAnyAsync<OperationCanceledException>(() => one);
        await Eventually.TrueAsync(async () => await db.Value<long>(Waiting) == 0, "somebody still waits for the account");
        await transaction.RollbackAsync(Ct);
        await client.DeductAsync(user, "weekly_report", ct: Ct);
        Assert.Equal(99, await db.Balance(user));
    }

    [Fact]
    public async Task One_key_charges_once_however_many_callers_bring_it()
    {
        var (client, user) = (Client, await db.Account(100));
        var charges = await Task.WhenAll(Enumerable.Range(0, 50).Select(_ => client.DeductAsync(user, "weekly_report", idempotencyKey: "one", ct: Ct)));
        Assert.Single(charges.Select(c => c.LogId).Distinct());
        Assert.Equal((49, 99m), (charges.Count(c => c.Replayed), await db.Balance(user)));
    }

    [Fact]
    public async Task Each_entry_names_its_own_caller()
    {
        var (client, user) = (Client, await db.Account(100));
        await Task.WhenAll(Enumerable.Range(0, 40).Select(n => client.As($"caller {n % 4}").DeductAsync(user, "weekly_report", ct: Ct)));
        Assert.Equal(
            ["caller 0 10", "caller 1 10", "caller 2 10", "caller 3 10"],
            await db.Column<string>("select actor || ' ' || count(*) from credits.credit_ledger where user_id = $1 and kind = 'usage' group by actor order by 1", user));
    }

    [Fact]
    public async Task A_transaction_scope_takes_back_its_own_charge_and_no_neighbours()
    {
        var (client, user) = (Client, await db.Account(1000));
        var before = Enumerable.Range(0, 30).Select(_ => client.DeductAsync(user, "weekly_report", ct: Ct)).ToList();
        var within = new List<Task>();
        using (new TransactionScope(TransactionScopeAsyncFlowOption.Enabled))
        {
            await Task.WhenAll(before);
            within.AddRange(Enumerable.Range(0, 30).Select(_ => Outside(() => client.DeductAsync(user, "weekly_report", ct: Ct))));
            await client.DeductAsync(await db.Account(100), "create_agent", ct: Ct);
            await Task.WhenAll(within);
        }

        Assert.Equal((940m, 60L), (await db.Balance(user), await db.Charges(user)));
        Assert.Equal(0, await db.Value<long>("select count(*) from credits.credit_ledger where action_type = 'create_agent'"));

        static Task Outside(Func<Task> work)
        {
            using (ExecutionContext.SuppressFlow())
                return Task.Run(work);
        }
    }

    [Fact]
    public async Task Metadata_are_kept_as_they_were_when_it_was_asked_for()
    {
        var (client, user, metadata) = (Client, await db.Account(100), new JsonObject());
        var charges = new List<Task>();
        for (var n = 0; n < 40; n++)
        {
            metadata["n"] = n;
            charges.Add(client.DeductAsync(user, "weekly_report", metadata: metadata, ct: Ct));
        }

        await Task.WhenAll(charges);
        Assert.Equal(40, await db.Value<long>("select count(distinct metadata ->> 'n') from credits.credit_ledger where user_id = $1 and kind = 'usage'", user));
    }
}

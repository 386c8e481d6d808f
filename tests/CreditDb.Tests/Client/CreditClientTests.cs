using System.Text.Json.Nodes;
using Microsoft.Extensions.DependencyInjection;
using Npgsql;

namespace CreditDb.Tests.Client;

public sealed class CreditClientTests(TestDatabase db) : IClassFixture<TestDatabase>, IAsyncLifetime
{
    private ServiceProvider _services = null!;
    private CreditClient _client = null!;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public ValueTask InitializeAsync()
    {
        _services = new ServiceCollection().AddCreditDb(db.ConnectionString).BuildServiceProvider();
        _client = _services.GetRequiredService<CreditClient>();
        return ValueTask.CompletedTask;
    }

    public ValueTask DisposeAsync() => _services.DisposeAsync();

    [Fact]
    public async Task A_day_in_the_life_of_an_account()
    {
        var user = await _client.GetUserIdAsync("https://login.example", Guid.NewGuid().ToString(), Cancel);
        var opened = await _client.OpenAccountAsync(user, "free", "Europe/Berlin", Cancel);
        Assert.Equal((user, "free", "Europe/Berlin", "active", true), (opened.UserId, opened.PlanId, opened.TimeZone, opened.Status, opened.Opened));
        Assert.False((await _client.OpenAccountAsync(user, ct: Cancel)).Opened);

        var check = await _client.CanPerformAsync(user, "create_agent", ct: Cancel);
        Assert.Equal((true, "ok", 5m, 100m, "free"), (check.CanPerform, check.Code, check.CreditsNeeded, check.CreditsRemaining, check.AccountLevel));
        var charge = await _client.DeductAsync(user, "create_agent", 2, Guid.NewGuid(), new JsonObject { ["agent"] = "a" }, "first", Cancel);
        Assert.Equal(
            (true, "ok", "create_agent", "Create Agent", 10m, 100m, 10m, 100m, 90m, 2L, false),
            (charge.Success, charge.Code, charge.ActionType, charge.ActionName, charge.Required, charge.Available, charge.CreditsDeducted, charge.BalanceBefore,
                charge.BalanceAfter, charge.LogId, charge.Replayed));
        var refund = await _client.RefundAsync(user, charge.LogId!.Value, 4, "sorry", ct: Cancel);
        Assert.Equal((4m, 6m, 94m, 0m), (refund.CreditsRefunded, refund.Refundable, refund.BalanceAfter, refund.CreditsExpired));

        Assert.Equal(2, (await _client.DeductCallAsync(user, Guid.NewGuid(), 61, ct: Cancel)).CreditsDeducted);
        Assert.Equal(0.5m, (await _client.DeductEmailSendAsync(user, Guid.NewGuid(), ct: Cancel)).CreditsDeducted);
        Assert.Equal(1, (await _client.DeductPromptFormattingAsync(user, ct: Cancel)).CreditsDeducted);
        Assert.Equal(2, (await _client.DeductPromptGenerationAsync(user, ct: Cancel)).CreditsDeducted);
        Assert.Equal(10, (await _client.DeductEmailImportBatchAsync(user, 101, ct: Cancel)).CreditsDeducted);
        Assert.Equal(19, (await _client.DeductChatMessageAsync(user, ct: Cancel)).Remaining);
        var tracked = await _client.TrackAsync(user, "weekly_report", new JsonObject { ["success"] = true, ["tokensUsed"] = 12 }, ct: Cancel);
        Assert.Equal((1m, null), (tracked.CreditsDeducted, tracked.AttemptId));
        Assert.NotNull((await _client.TrackAsync(user, "weekly_report", new JsonObject { ["success"] = false }, ct: Cancel)).AttemptId);

        var balance = await _client.GetBalanceAsync(user, ct: Cancel);
        Assert.Equal((77.5m, 77.5m, 0m, 0m, 0m, 0m, 0m, "credits"),
            (balance.Total, balance.Monthly, balance.Purchased, balance.Other, balance.Held, balance.Debt, balance.Owed, balance.CreditType));
        Assert.True(balance.NextMonthlyReset > balance.LastMonthlyReset);
        var past = await _client.GetBalanceAtAsync(user, balance.LastMonthlyReset!.Value.AddDays(-1), ct: Cancel);
        Assert.Equal((0m, 0L, null), (past.Balance, past.EntryNo, past.EntryAt));
        var stats = await _client.GetUsageStatsAsync(user, Cancel);
        Assert.Equal((22.5m, 100m, 77.5m, 22.5m, "month"), (stats.Used, stats.Limit, stats.Remaining, stats.Percentage, stats.Period!.Period));
        Assert.Equal("import_emails", stats.Totals[0].ActionType);
        var feature = Assert.Single(await _client.GetFeatureUsageAsync(user, "create_agent", Cancel));
        Assert.Equal((1L, 6m, 6m), (feature.MonthlyUses, feature.MonthlyCredits, feature.AverageCreditsPerAction));
        Assert.Equal(0, (await _client.ChargeUnchargedAsync(user, Cancel)).RowsLeft);
        Assert.Empty(await _client.VerifyLedgerAsync(user, Cancel));
    }

    [Fact]
    public async Task Purchases_and_what_admins_do()
    {
        var user = await db.Account();
        var package = await _client.SetPackageAsync("client-test", 10, 300, "EUR", "Ten", ["ten credits"], ct: Cancel);
        Assert.Equal((10m, 300L, "EUR", "Ten"), (package.Credits, package.PriceMinor, package.Currency, package.PackageName));
        var purchase = await _client.CreatePurchaseAsync(user, "client-test", "stripe", idempotencyKey: "p", ct: Cancel);
        Assert.Equal(("pending", 10m, 300L), (purchase.Status, purchase.Credits, purchase.PriceMinor));
        Assert.Equal(["ten credits"], purchase.Features);
        var paid = await _client.CompletePurchaseAsync(user, purchase.PurchaseId, "pi_1", 300, "EUR", Cancel);
        Assert.Equal(("paid", 10m, false), (paid.Status, paid.BalanceAfter, paid.Replayed));
        Assert.True((await _client.CompletePurchaseAsync(user, purchase.PurchaseId, "pi_1", ct: Cancel)).Replayed);
        var disputed = await _client.RefundPurchaseAsync(user, purchase.PurchaseId, 150, "dispute", "dp_1", true, Cancel);
        Assert.Equal((5m, 5m, 0m, 150L, true), (disputed.CreditsTaken, disputed.Revoked, disputed.Owing, disputed.RefundableMinor, disputed.IsDispute));
        Assert.True((await _client.ReinstatePurchaseAsync(user, purchase.PurchaseId, "dp_1", ct: Cancel)).Reinstated);
        var second = await _client.CreatePurchaseAsync(user, "client-test", "stripe", ct: Cancel);
        Assert.Equal("card declined", (await _client.FailPurchaseAsync(user, second.PurchaseId, "card declined", Cancel)).FailureReason);

        var listed = await _client.ListPurchasesAsync(user, 1, ct: Cancel);
        Assert.Equal((second.PurchaseId, "Ten", "failed"), (listed[0].PurchaseId, listed[0].PackageName, listed[0].Status));
        Assert.Equal(purchase.PurchaseId, Assert.Single(await _client.ListPurchasesAsync(user, 5, listed[0], ct: Cancel)).PurchaseId);
        var topUp = await _client.SetTopUpAsync(user, "stripe", true, 2.5m, "client-test", 900, Cancel);
        Assert.Equal(("needs_payment_method", 2.5m, 300L), (topUp.Status, topUp.Threshold, topUp.PriceMinor));
        Assert.Equal(900, (await _client.GetTopUpAsync(user, "stripe", Cancel)).MonthlyCapMinor);
        Assert.Equal(15, (await _client.GrantAsync(user, 5, "promotional", TimeProvider.System.GetUtcNow().AddDays(1), 7, "spring", idempotencyKey: "g", ct: Cancel)).BalanceAfter);
        Assert.Equal(16, (await _client.AddPurchasedCreditsAsync(user, 1, "invoice", ct: Cancel)).BalanceAfter);
        Assert.Equal(-6, (await _client.AdjustAsync(user, -6, "a mistake", ct: Cancel)).Amount);
        Assert.Equal(12, (await _client.SetThresholdAsync(user, 12, ct: Cancel)).Amount);
        Assert.Equal(1, await _client.ReadNotificationsAsync(user, ct: Cancel) > 0 ? 1 : 0);
        Assert.Equal(4900, (await _client.ChangePlanAsync(await Free(), "pro", Cancel)).Granted["credits"]);
        Assert.Equal(("client_test", 2.5m, true), await _client.SetCostAsync("client_test", 2.5m, ct: Cancel) is var cost ? (cost.ActionType, cost.CostPerUnit, cost.IsActive) : default);
        Assert.Equal(3, (await _client.ImportBalanceAsync(await db.Account(), null, 3, Cancel)).BalanceAfter);
        var history = new JsonArray(new JsonObject { ["id"] = "1", ["action_type"] = "old", ["amount_used"] = 2, ["created_at"] = "2020-01-01T00:00:00Z" });
        Assert.Equal(1, (await _client.ImportHistoryAsync(user, history, Cancel)).Imported);
        var free = await Free();
        var reset = (await _client.GetBalanceAsync(free, ct: Cancel)).LastMonthlyReset!.Value;
        Assert.Equal(100, (await _client.RollbackResetAsync(free, "credits", reset, "a mistake", Cancel)).Revoked);

        Assert.Equal("suspended", (await _client.SuspendAccountAsync(user, "review", Cancel)).Status);
        await Assert.ThrowsAsync<AccountSuspendedException>(() => _client.DeductAsync(user, "create_agent", ct: Cancel));
        Assert.True((await _client.ReactivateAccountAsync(user, Cancel)).Changed);
        Assert.True((await _client.EraseUserDataAsync(user, Cancel)).Entries > 0);
        Assert.Equal("closed", (await _client.CloseAccountAsync(user, ct: Cancel)).Status);

        Assert.Equal(0, await _client.SettleDueWalletsAsync(ct: Cancel));
        Assert.Equal(0, await _client.NotifyExpiringAsync(TimeSpan.FromMinutes(1), ct: Cancel));
        Assert.Null((await _client.RollUpUsageAsync(ct: Cancel)).LastUserId);
        Assert.Equal(0, (await _client.ArchiveLedgerAsync(DateTimeOffset.UnixEpoch, ct: Cancel)).Entries);
        Assert.Empty(await _client.VerifyLedgerAsync(ct: Cancel));
    }

    [Fact]
    public async Task A_plan_is_written_and_its_terms_hold()
    {
        var plan = await _client.SetPlanAsync("client", "Client", 5, 60, Cancel);
        Assert.Equal(("client", "Client", 5m, 60), (plan.PlanId, plan.PlanName, plan.DebtLimit, plan.FreeChatSeconds));
        var allowance = await _client.SetAllowanceAsync("client", "credits", 30, "day", Cancel);
        Assert.Equal(("credits", 30m, "day", false), (allowance.CreditType, allowance.Amount, allowance.Period, allowance.Removed));
        var feature = await _client.SetFeatureAsync("client", "weekly_report", costPerUnit: 0.5m, limitQuantity: 2, limitPeriod: "day", ct: Cancel);
        Assert.Equal((false, 0.5m, 2m, "day"), (feature.IsUnlimited, feature.CostPerUnit, feature.LimitQuantity, feature.LimitPeriod));
        var user = Guid.NewGuid();
        await _client.OpenAccountAsync(user, "client", ct: Cancel);
        Assert.Equal(29, (await _client.DeductAsync(user, "weekly_report", 2, ct: Cancel)).BalanceAfter);
        Assert.Equal("limit_reached", (await _client.TryDeductAsync(user, "weekly_report", ct: Cancel)).Code);
        Assert.True((await _client.SetFeatureAsync("client", "weekly_report", ct: Cancel)).Removed);
        Assert.Equal(28, (await _client.DeductAsync(user, "weekly_report", ct: Cancel)).BalanceAfter);
    }

    [Fact]
    public async Task Chat_time_is_reported_and_never_throws_for_a_decline()
    {
        var user = await db.Account(0.25m);
        var session = await _client.OpenChatSessionAsync(user, freeSeconds: 15, ct: Cancel);
        Assert.Equal((true, 15, 0.25m, 15, "warn"), (session.Opened, session.FreeSecondsLeft, session.Rate, session.IntervalSeconds, session.Advice));
        var stopped = await _client.RecordChatTimeAsync(user, session.SessionId, 45, Cancel);
        Assert.Equal((false, "insufficient_credits", "stop", 0.25m, 0.25m), (stopped.Success, stopped.Code, stopped.Advice, stopped.CreditsUsed, stopped.CreditsOwed));
    }

    [Fact]
    public async Task A_decline_is_an_exception_or_an_outcome_as_the_caller_likes()
    {
        var user = await db.Account(3);
        var insufficient = await Assert.ThrowsAsync<InsufficientCreditsException>(() => _client.DeductAsync(user, "create_agent", ct: Cancel));
        Assert.Equal(("insufficient_credits", 5m, 3m), (insufficient.Code, insufficient.Required, insufficient.Available));
        Assert.Equal("insufficient_credits", (await _client.TryDeductAsync(user, "create_agent", ct: Cancel)).Code);
        await Assert.ThrowsAsync<UnknownAccountException>(() => _client.GetBalanceAsync(Guid.NewGuid(), ct: Cancel));
        Assert.Equal("unknown_action", (await Assert.ThrowsAsync<CreditException>(() => _client.DeductAsync(user, "nothing", ct: Cancel))).Code);

        var free = await Free();
        var limited = await Assert.ThrowsAsync<LimitReachedException>(() => _client.DeductAsync(free, "script_generation", 4, ct: Cancel));
        Assert.Equal((3m, 0m), (limited.Limit, limited.Used));
        await db.Run("select credits.adjust_credits($1, -20, 'test', p_credit_type => 'chat_messages')", free);
        Assert.Equal(0, (await Assert.ThrowsAsync<InsufficientChatMessagesException>(() => _client.DeductChatMessageAsync(free, ct: Cancel))).Remaining);
        Assert.False((await _client.TryDeductChatMessageAsync(free, ct: Cancel)).Success);
        Assert.Equal("already_settled", (await Assert.ThrowsAsync<CreditException>(() => RefundTwice(user))).Code);

        async Task RefundTwice(Guid payer)
        {
            var charge = await _client.DeductAsync(payer, "weekly_report", ct: Cancel);
            await _client.RefundAsync(payer, charge.LogId!.Value, ct: Cancel);
            await _client.RefundAsync(payer, charge.LogId!.Value, ct: Cancel);
        }
    }

    [Fact]
    public async Task What_the_engine_refuses_is_named_with_its_details()
    {
        var user = await db.Account(10);
        var invalid = await Assert.ThrowsAsync<InvalidArgumentException>(() => _client.DeductAsync(user, "create_agent", -1, ct: Cancel));
        Assert.Equal("p_quantity", JsonNode.Parse(invalid.Detail!)!["argument"]!.GetValue<string>());
        await _client.DeductAsync(user, "weekly_report", idempotencyKey: "k", ct: Cancel);
        Assert.Equal("key_reused", (await Assert.ThrowsAsync<IdempotencyKeyException>(() => _client.DeductAsync(user, "create_agent", idempotencyKey: "k", ct: Cancel))).Code);
        var hold = await _client.ReserveAsync(user, "weekly_report", ct: Cancel);
        await _client.ReleaseReservationAsync(user, hold.ReservationId, ct: Cancel);
        Assert.Equal("reservation_settled", (await Assert.ThrowsAsync<CreditException>(() => _client.CommitReservationAsync(user, hold.ReservationId, ct: Cancel))).Code);
    }

    [Fact]
    public async Task A_batch_brings_an_outcome_for_each_request_in_order()
    {
        var user = await db.Account(6);
        var outcomes = await _client.DeductBatchAsync(
            [
                new(user, "create_agent", Metadata: new JsonObject { ["n"] = 1 }, IdempotencyKey: "a"), new(user, "create_agent", 0), new(user, "create_agent"),
                new(Guid.NewGuid(), "weekly_report"), new(user, "weekly_report", ReferenceId: Guid.NewGuid()),
            ],
            Cancel);
        Assert.Equal(["ok", "invalid_argument", "insufficient_credits", "unknown_account", "ok"], outcomes.Select(o => o.Code));
        Assert.Equal(("quantity", 0m), (outcomes[1].Argument, outcomes[4].BalanceAfter));
    }

    [Fact]
    public async Task In_the_callers_transaction_a_rollback_undoes_the_charge()
    {
        var user = await db.Account(10);
        await using (var connection = await db.Source.OpenConnectionAsync(Cancel))
        await using (var transaction = await connection.BeginTransactionAsync(Cancel))
        {
            Assert.Equal(5, (await _client.In(transaction).DeductAsync(user, "create_agent", idempotencyKey: "k", ct: Cancel)).BalanceAfter);
            Assert.Equal(10, (await _client.GetBalanceAsync(user, ct: Cancel)).Total);
        }

        Assert.Equal(10, (await _client.GetBalanceAsync(user, ct: Cancel)).Total);
        Assert.False((await _client.DeductAsync(user, "create_agent", idempotencyKey: "k", ct: Cancel)).Replayed);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task A_lost_connection_is_made_up_for_where_there_is_a_key(bool hasKey)
    {
        var user = await db.Account(10);
        await using var holder = await db.Source.OpenConnectionAsync(Cancel);
        await holder.Run("begin");
        await holder.Run("select from credits.wallets where user_id = $1 for no key update", user);
        var charging = _client.DeductAsync(user, "create_agent", idempotencyKey: hasKey ? "k" : null, ct: Cancel);
        await Eventually.TrueAsync(async () => await db.Value<long>(
            "select count(pg_terminate_backend(pid)) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'") == 1, "the charge does not wait");
        await holder.Run("rollback");
        if (hasKey)
            Assert.Equal(5, (await charging).BalanceAfter);
        else
            await Assert.ThrowsAnyAsync<NpgsqlException>(() => charging);
        Assert.Equal(hasKey ? 5 : 10, await db.Balance(user));
    }

    private async Task<Guid> Free()
    {
        var user = Guid.NewGuid();
        await _client.OpenAccountAsync(user, ct: Cancel);
        return user;
    }

    [Fact]
    public async Task A_URL_names_the_database_too()
    {
        var at = new NpgsqlConnectionStringBuilder(db.ConnectionString);
        var url = $"postgresql://{Uri.EscapeDataString(at.Username!)}:{Uri.EscapeDataString(at.Password ?? "")}@{at.Host}:{at.Port}/{at.Database}";
        await using var services = new ServiceCollection().AddCreditDb(url).BuildServiceProvider();
        Assert.Equal(7, (await services.GetRequiredService<CreditClient>().GetBalanceAsync(await db.Account(7), ct: Cancel)).Total);
    }

    [Fact]
    public async Task Our_own_connections_keep_their_plans_between_uses()
    {
        await using var source = EngineConnections.Create(new NpgsqlConnectionStringBuilder(db.ConnectionString) { MaxPoolSize = 1 });
        await using (var first = await source.OpenConnectionAsync(Cancel))
            await first.Run("prepare kept as select 7");
        // Npgsql's reset would have thrown it away, with all plans.
        await using var second = await source.OpenConnectionAsync(Cancel);
        Assert.Equal(7, await second.Value<int>("execute kept"));
    }
}

namespace CreditDb.Tests.Sql;

/// <summary>verify_next: one sweep for all workers, and one alert per discrepancy.</summary>
public sealed class VerifyNextTests : IClassFixture<TestDatabase>, IAsyncLifetime
{
    private readonly TestDatabase _db;

    public VerifyNextTests(TestDatabase db)
    {
        _db = db;
        _db.BooksAreDamaged = true;
    }

    public async ValueTask InitializeAsync()
    {
        await _db.SetClock("2026-03-01 12:00Z");
        await _db.Run("update credits.worker_sweeps set after_user_id = null, since = null, began_at = null, ended_at = null");
        await _db.Sweep("verify_next");
    }

    public ValueTask DisposeAsync() => ValueTask.CompletedTask;

    [Fact]
    public async Task A_discrepancy_is_one_alert_until_it_is_gone_and_is_opened_again_when_it_comes_back()
    {
        var user = await _db.Account(10);
        await _db.Run("update credits.wallets set held = 3 where user_id = $1 and credit_type = 'credits'", user);
        var (_, slices) = await _db.Sweep("verify_next");
        Assert.Equal(
            ["discrepancy held by the wallet against its reservations", "discrepancy held by the wallet against the ledger"],
            await _db.Alerts(user));
        var told = slices.Single(s => s.Number("raised") > 0).GetProperty("alerts")[0];
        Assert.Equal((user.ToString(), "discrepancy", "credits"), (told.Text("user_id"), told.Text("kind"), told.Text("credit_type")));
        Assert.Equal(["""{"rows": 1, "actual": "3.000000", "expected": "0"}"""],
            await _db.Column<string>("select details::text from credits.alerts where user_id = $1 and subject like '%ledger'", user));

        // Found again: nothing new, but the details are those of today.
        await _db.SetClock("2026-03-02 12:00Z");
        await _db.Run("update credits.wallets set held = 4 where user_id = $1 and credit_type = 'credits'", user);
        (_, slices) = await _db.Sweep("verify_next");
        Assert.Equal(0, slices.Sum(s => s.Number("raised") + s.Number("closed")));
        Assert.Equal(["4.000000 2026-03-01 1"], await _db.Column<string>(
            "select concat_ws(' ', details ->> 'actual', (raised_at at time zone 'UTC')::date, repeats) from credits.alerts where user_id = $1 and subject like '%ledger'", user));

        await _db.Run("update credits.wallets set held = 0 where user_id = $1 and credit_type = 'credits'", user);
        (_, slices) = await _db.Sweep("verify_next");
        Assert.Equal(2, slices.Sum(s => s.Number("closed")));
        Assert.Empty(await _db.Alerts(user));

        await _db.SetClock("2026-03-03 12:00Z");
        await _db.Run("update credits.wallets set held = 5 where user_id = $1 and credit_type = 'credits'", user);
        (_, slices) = await _db.Sweep("verify_next");
        Assert.Equal(2, slices.Sum(s => s.Number("raised")));
        Assert.Equal(["5.000000 2026-03-03 2"], await _db.Column<string>(
            "select concat_ws(' ', details ->> 'actual', (raised_at at time zone 'UTC')::date, repeats) from credits.alerts where user_id = $1 and closed_at is null and subject like '%ledger'", user));
        await _db.Run("update credits.wallets set held = 0 where user_id = $1 and credit_type = 'credits'", user);
    }

    [Fact]
    public async Task A_sweep_verifies_each_account_once_goes_on_where_it_stopped_and_begins_when_it_is_due()
    {
        for (var i = 0; i < 7; i++)
            await _db.Account(1);
        var accounts = await _db.Value<long>("select count(*) from credits.accounts");
        await _db.SetClock("2026-03-04 12:00Z");
        Assert.Equal(3, (await _db.Json("select credits.verify_next('1 day', 3)")).Number("items"));
        var after = await _db.Value<Guid>("select after_user_id from credits.worker_sweeps where job = 'verify'");
        Assert.Equal(await _db.Value<Guid>("select user_id from credits.accounts order by user_id offset 2 limit 1"), after);
        Assert.Equal(accounts - 3, (await _db.Sweep("verify_next", 2, "1 day")).Items);
        Assert.Equal(0, (await _db.Sweep("verify_next", 2, "1 day")).Items);
        await _db.SetClock("2026-03-05 11:59:59Z");
        Assert.Equal(0, (await _db.Sweep("verify_next", 2, "1 day")).Items);
        await _db.SetClock("2026-03-05 12:00Z");
        Assert.Equal(accounts, (await _db.Sweep("verify_next", 1000, "1 day")).Items);
    }

    [Fact]
    public async Task Eight_workers_share_one_sweep_and_raise_each_alert_once()
    {
        var users = new List<Guid>();
        for (var i = 0; i < 30; i++)
            users.Add(await _db.Account(1));
        await _db.Run("update credits.wallets set held = 1 where user_id = any ($1) and credit_type = 'credits'", users.ToArray());
        await _db.SetClock("2026-03-08 12:00Z");
        Assert.Equal(await _db.Value<long>("select count(*) from credits.accounts"), await _db.SweepTogether("verify_next", 2));
        Assert.Equal(60, await _db.Value<long>("select count(*) from credits.alerts where user_id = any ($1) and repeats = 1", users.ToArray()));
        await _db.Run("update credits.wallets set held = 0 where user_id = any ($1) and credit_type = 'credits'", users.ToArray());
        await _db.SetClock("2026-03-10 12:00Z");
        await _db.SweepTogether("verify_next", 2);
        Assert.Equal(0, await _db.Value<long>("select count(*) from credits.alerts where user_id = any ($1) and closed_at is null", users.ToArray()));
    }

    [Fact]
    public async Task A_worker_that_meets_another_does_nothing_and_does_not_wait()
    {
        await using var connection = await _db.Source.OpenConnectionAsync(TestContext.Current.CancellationToken);
        await using var transaction = await connection.BeginTransactionAsync(TestContext.Current.CancellationToken);
        await connection.Run("select credits.verify_next(null, 1)");
        await using var impatient = await _db.Source.OpenConnectionAsync(TestContext.Current.CancellationToken);
        await impatient.Run("set lock_timeout = '1s'");
        var met = await impatient.Json("select credits.verify_next(null, 1)");
        Assert.Equal((0, true), (met.Number("items"), met.Flag("is_done")));
        // The other jobs are their own.
        Assert.True((await impatient.Json("select credits.forget_keys()")).Flag("success"));
        await transaction.RollbackAsync(TestContext.Current.CancellationToken);
    }

    [Fact]
    public async Task Rows_of_a_user_without_an_account_are_found_wherever_the_id_lies()
    {
        Guid[] strangers = [Guid.Parse("00000000-0000-0000-0000-000000000001"), Guid.Parse("ffffffff-ffff-ffff-ffff-fffffffffffe"), Guid.NewGuid()];
        await _db.Account();
        await _db.Run("insert into credits.wallets (user_id, credit_type, is_active, last_entry_at, balance) select u, 'credits', true, now(), 1 from unnest($1) u", strangers);
        await _db.Sweep("verify_next", 2);
        foreach (var stranger in strangers)
            Assert.Contains("discrepancy whether the wallet may spend", await _db.Alerts(stranger));
        await _db.Run("delete from credits.wallets where user_id = any ($1)", strangers);
        await _db.Sweep("verify_next", 2);
        foreach (var stranger in strangers)
            Assert.Empty(await _db.Alerts(stranger));
    }

    [Fact]
    public async Task A_trigger_out_of_order_is_an_alert_of_no_user()
    {
        await _db.Run("create table public.papers (id integer primary key, user_id uuid not null)");
        await _db.Run("select credits.attach_charge('public.papers', 'create_agent')");
        await _db.Sweep("verify_next");
        Assert.Empty(await _db.Alerts(Guid.Empty));
        await _db.Run("alter table public.papers disable trigger user");
        var (_, slices) = await _db.Sweep("verify_next", 1);
        Assert.Equal(1, slices.Sum(s => s.Number("raised")));
        Assert.Matches("^attachment public.papers .* disabled$", Assert.Single(await _db.Alerts(Guid.Empty)));
        await _db.Run("alter table public.papers enable trigger user");
        await _db.Sweep("verify_next", 1);
        Assert.Empty(await _db.Alerts(Guid.Empty));
    }

    [Fact]
    public async Task Eight_chargers_meanwhile_are_no_discrepancy_and_do_not_wait()
    {
        await _db.Run("create or replace function credits.clock_now() returns timestamptz language sql volatile as $$ select pg_catalog.clock_timestamp() $$");
        var users = new List<Guid>();
        for (var i = 0; i < 8; i++)
            users.Add(await _db.Account(1000));
        using var done = new CancellationTokenSource();
        var verifying = Task.Run(async () =>
        {
            var raised = 0m;
            while (!done.IsCancellationRequested)
                raised += (await _db.Sweep("verify_next", 3)).Slices.Sum(s => s.Number("raised"));
            return raised;
        });
        await Task.WhenAll(users.Select(async user =>
        {
            for (var i = 0; i < 40; i++)
                await _db.Run("select credits.deduct_credits_for_action($1, 'send_email', p_idempotency_key => $2)", user, $"{i}");
        }));
        await done.CancelAsync();
        Assert.Equal(0, await verifying);
    }

    [Fact]
    public async Task Only_the_first_alerts_of_many_are_returned()
    {
        var users = new List<Guid>();
        for (var i = 0; i < 15; i++)
            users.Add(await _db.Account(1));
        await _db.Run("update credits.wallets set held = 1 where user_id = any ($1) and credit_type = 'credits'", users.ToArray());
        var (_, slices) = await _db.Sweep("verify_next");
        var slice = slices.Single(s => s.Number("raised") > 0);
        Assert.Equal((30, 20), (slice.Number("raised"), slice.GetProperty("alerts").GetArrayLength()));
        await _db.Run("update credits.wallets set held = 0 where user_id = any ($1) and credit_type = 'credits'", users.ToArray());
    }

    [Fact]
    public async Task Malformed_arguments_are_refused_by_name()
    {
        var user = await _db.Account();
        foreach (var function in new[] { "verify_next", "roll_up_next", "find_anomalies", "forget_keys" })
        {
            await _db.Refuses(user, "p_limit", $"select credits.{function}(null, 0)");
            await _db.Refuses(user, "p_limit", $"select credits.{function}(null, null)");
            await _db.Refuses(user, "p_limit", $"select credits.{function}(null, 100001)");
            await _db.Refuses(user, "p_every", $"select credits.{function}('0')");
            await _db.Refuses(user, "p_every", $"select credits.{function}('367 days')");
        }
    }
}

namespace CreditDb.Tests.Sql;

/// <summary>expire_purchases: what was never paid fails, once, and what is paid after all is paid.</summary>
public sealed class ExpirePurchasesTests(TestServer server) : IAsyncLifetime
{
    // One for each test: the clock and the jobs are the whole database's.
    private readonly TestDatabase _db = new(server);

    public async ValueTask InitializeAsync()
    {
        await _db.InitializeAsync();
        await _db.SetClock("2026-03-01 12:00Z");
    }

    public ValueTask DisposeAsync() => _db.DisposeAsync();

    [Fact]
    public async Task A_purchase_that_stays_pending_fails_at_its_age_and_a_late_payment_completes_it()
    {
        var user = await _db.Account();
        var purchase = await Purchase(user);
        await _db.SetClock("2026-03-02 12:59:59Z");
        Assert.Equal(0, await Expire());
        var young = await Purchase(user);
        await _db.SetClock("2026-03-02 13:00Z");
        var change = await ChangeNo(user);
        Assert.Equal(1, await Expire());
        Assert.Equal(["failed expired"], await Status(purchase));
        Assert.Equal(["pending"], await Status(young));
        Assert.True(await ChangeNo(user) > change);
        Assert.Equal(0, await Expire());

        Assert.Equal("paid", (await _db.Json("select credits.complete_purchase($1, $2, 'late')", user, purchase)).Text("status"));
        await _db.SetClock("2026-03-09 13:00Z");
        Assert.Equal(1, await Expire());
        Assert.Equal(["paid expired"], await Status(purchase));
        Assert.Equal(["failed expired"], await Status(young));
    }

    [Fact]
    public async Task Each_is_an_event_for_webhooks()
    {
        await _db.Run("select credits.set_webhook_endpoint($1, 'https://example.com/hooks', 'protected', '{purchase.*}')", Guid.NewGuid());
        var user = await _db.Account();
        var purchases = new[] { await Purchase(user), await Purchase(user) };
        await _db.SetClock("2026-03-03 12:00Z");
        Assert.Equal(2, await Expire());
        Assert.Equal(
            purchases.Select(p => $"purchase.failed {p} failed expired").Order(),
            await _db.Column<string>("select concat_ws(' ', type, data ->> 'purchase_id', data ->> 'status', data ->> 'failure_reason') from credits.webhook_deliveries where user_id = $1 order by 1", user));
    }

    [Fact]
    public async Task What_is_paid_or_failed_stays_as_it_is()
    {
        var user = await _db.Account();
        var (paid, failed) = (await Purchase(user), await Purchase(user));
        await _db.Run("select credits.complete_purchase($1, $2, 'p')", user, paid);
        await _db.Run("select credits.fail_purchase($1, $2, 'card declined')", user, failed);
        await _db.SetClock("2027-03-01 12:00Z");
        var before = await _db.Snapshot(user);
        Assert.Equal(0, await Expire());
        Assert.Equal(before, await _db.Snapshot(user));
    }

    [Fact]
    public async Task Eight_workers_expire_each_purchase_once()
    {
        var users = new List<Guid>();
        for (var i = 0; i < 40; i++)
        {
            users.Add(await _db.Account());
            await Purchase(users[i]);
            await Purchase(users[i]);
        }
        var changes = await Changes();
        await _db.SetClock("2026-03-03 12:00Z");
        var expired = await Task.WhenAll(Enumerable.Range(0, 8).Select(async _ =>
        {
            var sum = 0;
            for (var idle = 0; idle < 2;)
            {
                var n = await _db.Value<int>("select credits.expire_purchases(p_limit => 3)");
                sum += n;
                idle = n == 0 ? idle + 1 : 0;
            }
            return sum;
        }));
        Assert.Equal(80, expired.Sum());
        Assert.Equal(80, await _db.Value<long>("select count(*) from credits.credit_purchases where user_id = any ($1) and failure_reason = 'expired'", users.ToArray()));
        Assert.Equal(changes + 80, await Changes());

        Task<decimal> Changes() => _db.Value<decimal>("select sum(change_no) from credits.wallets where user_id = any ($1)", users.ToArray());
    }

    [Fact]
    public async Task A_purchase_that_is_just_being_paid_is_left_to_that()
    {
        var (user, other) = (await _db.Account(), await _db.Account());
        var (purchase, others) = (await Purchase(user), await Purchase(other));
        await _db.SetClock("2026-03-03 12:00Z");
        await using var connection = await _db.Source.OpenConnectionAsync(TestContext.Current.CancellationToken);
        await using (var transaction = await connection.BeginTransactionAsync(TestContext.Current.CancellationToken))
        {
            await connection.Run("select credits.complete_purchase($1, $2, 'in time')", user, purchase);
            Assert.Equal(1, await Expire());
            await transaction.CommitAsync(TestContext.Current.CancellationToken);
        }
        Assert.Equal(0, await Expire());
        Assert.Equal(["paid"], await Status(purchase));
        Assert.Equal(["failed expired"], await Status(others));
    }

    [Fact]
    public async Task Malformed_arguments_are_refused_by_name()
    {
        var user = await _db.Account();
        await Purchase(user);
        await _db.Refuses(user, "p_age", "select credits.expire_purchases('59 seconds')");
        await _db.Refuses(user, "p_age", "select credits.expire_purchases('367 days')");
        await _db.Refuses(user, "p_age", "select credits.expire_purchases(null)");
        await _db.Refuses(user, "p_limit", "select credits.expire_purchases(p_limit => 0)");
        await _db.Refuses(user, "p_limit", "select credits.expire_purchases(p_limit => null)");
    }

    private async Task<Guid> Purchase(Guid user) =>
        Guid.Parse((await _db.Json("select credits.create_purchase($1, (select min(package_id) from credits.credit_packages), 'stripe')", user)).Text("purchase_id"));

    private Task<int> Expire() => _db.Value<int>("select credits.expire_purchases()");

    private Task<long> ChangeNo(Guid user) => _db.Value<long>("select change_no from credits.wallets where user_id = $1 and credit_type = 'credits'", user);

    private Task<List<string>> Status(Guid purchase) =>
        _db.Column<string>("select concat_ws(' ', status, failure_reason) from credits.credit_purchases where purchase_id = $1", purchase);
}

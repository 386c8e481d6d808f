using System.Runtime.CompilerServices;

namespace CreditDb.Tests.Client;

public sealed class ReservedWorkTests(TestDatabase db) : IClassFixture<TestDatabase>
{
    private readonly CreditClient _client = new(db.Source);

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData(2, 2)]
    [InlineData(4, 4)]
    [InlineData(7, 7)]
    [InlineData(0, 0)]
    public async Task What_the_work_says_it_used_is_charged(int used, int charged)
    {
        var user = await db.Account(10);
        var result = await _client.WithReservationAsync(user, "weekly_report", 4, async (work, _) =>
        {
            Assert.Equal(6, await db.Balance(user));
            work.Used = used;
            return "done";
        }, ct: Cancel);
        Assert.Equal(("done", 10m - charged, 0L), (result, await db.Balance(user), await Held(user)));
    }

    [Fact]
    public async Task More_than_the_balance_covers_charges_what_was_held_and_throws()
    {
        var user = await db.Account(5);
        var thrown = await Assert.ThrowsAsync<InsufficientCreditsException>(() => _client.WithReservationAsync(user, "weekly_report", 4, (work, _) =>
        {
            work.Used = 6;
            return Task.FromResult(0);
        }, ct: Cancel));
        Assert.Equal((2m, 1m), (thrown.Required, thrown.Available));
        Assert.Equal((1m, 0L), (await db.Balance(user), await Held(user)));
    }

    [Fact]
    public async Task Work_that_fails_costs_nothing_and_its_exception_is_the_callers()
    {
        var user = await db.Account(5);
        await Assert.ThrowsAsync<TimeoutException>(() => _client.WithReservationAsync<int>(user, "weekly_report", 4, (_, _) => throw new TimeoutException(), ct: Cancel));
        Assert.Equal((5m, 0L), (await db.Balance(user), await Held(user)));
    }

    [Fact]
    public async Task Work_that_is_cancelled_costs_nothing()
    {
        var user = await db.Account(5);
        using var cancel = new CancellationTokenSource();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => _client.WithReservationAsync(user, "weekly_report", 4, async (_, ct) =>
        {
            await cancel.CancelAsync();
            await Task.Delay(Timeout.Infinite, ct);
            return 0;
        }, ct: cancel.Token));
        Assert.Equal((5m, 0L), (await db.Balance(user), await Held(user)));
    }

    [Fact]
    public async Task Without_the_credits_the_work_does_not_begin()
    {
        var user = await db.Account(3);
        await Assert.ThrowsAsync<InsufficientCreditsException>(() => _client.WithReservationAsync<int>(user, "weekly_report", 4, (_, _) => throw new TimeoutException(), ct: Cancel));
    }

    [Theory]
    [InlineData(5, 5)]
    [InlineData(3, 3)]
    [InlineData(0, 0)]
    public async Task A_stream_is_charged_by_what_was_streamed_wherever_the_consumer_stops(int taken, int charged)
    {
        var user = await db.Account(10);
        var seen = 0;
        if (taken > 0)
        {
            await foreach (var _ in _client.WithReservationAsync(user, "weekly_report", 4, ct => Words(5, TimeSpan.Zero, ct), _ => 1, ct: Cancel))
            {
                if (++seen == taken)
                    break;
            }
        }
        else
        {
            await foreach (var _ in _client.WithReservationAsync(user, "weekly_report", 4, ct => Words(0, TimeSpan.Zero, ct), _ => 1, ct: Cancel))
                seen++;
        }

        Assert.Equal((taken, 10m - charged, 0L), (seen, await db.Balance(user), await Held(user)));
    }

    [Fact]
    public async Task A_stream_that_fails_is_charged_by_what_was_streamed_before()
    {
        var user = await db.Account(10);
        await Assert.ThrowsAsync<TimeoutException>(async () =>
        {
            await foreach (var _ in _client.WithReservationAsync(user, "weekly_report", 4, Failing, _ => 1m, ct: Cancel))
            {
            }
        });
        Assert.Equal((8m, 0L), (await db.Balance(user), await Held(user)));

        static async IAsyncEnumerable<int> Failing([EnumeratorCancellation] CancellationToken ct)
        {
            await Task.Yield();
            yield return 1;
            ct.ThrowIfCancellationRequested();
            yield return 2;
            throw new TimeoutException();
        }
    }

    [Fact]
    public async Task The_hold_lasts_as_long_as_the_stream()
    {
        var user = await db.Account(10);
        await foreach (var _ in _client.WithReservationAsync(user, "weekly_report", 10, ct => Words(4, TimeSpan.FromSeconds(1), ct), _ => 1, TimeSpan.FromSeconds(2), Cancel))
        {
            // Lapsed holds would be given back by this.
            await db.Run("select credits.settle_due_wallets()");
            Assert.Equal(0, await db.Balance(user));
        }

        Assert.Equal(6, await db.Balance(user));
    }

    private static async IAsyncEnumerable<string> Words(int count, TimeSpan pause, [EnumeratorCancellation] CancellationToken ct)
    {
        for (var i = 0; i < count; i++)
        {
            await Task.Delay(pause, ct);
            yield return "word";
        }
    }

    private Task<long> Held(Guid user) => db.Value<long>("select count(*) from credits.credit_reservations where user_id = $1 and status = 'held'", user);
}

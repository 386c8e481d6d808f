using System.Runtime.CompilerServices;
using System.Text.Json.Nodes;
using Npgsql;

namespace CreditDb;

public sealed partial class CreditClient
{
    private static readonly TimeSpan HoldTime = TimeSpan.FromMinutes(15);

    /// <summary>Holds the price of an action for work that is about to start; throws when it is declined.</summary>
    public async Task<Reservation> ReserveAsync(
        Guid userId, string actionType, decimal quantity = 1, TimeSpan? ttl = null, JsonObject? metadata = null, string? idempotencyKey = null,
        CancellationToken ct = default) =>
        Done(await TryReserveAsync(userId, actionType, quantity, ttl, metadata, idempotencyKey, ct));

    /// <summary>Holds the price of an action for work that is about to start, or says why not.</summary>
    public Task<Reservation> TryReserveAsync(
        Guid userId, string actionType, decimal quantity = 1, TimeSpan? ttl = null, JsonObject? metadata = null, string? idempotencyKey = null,
        CancellationToken ct = default) =>
        _sql.JsonAsync<Reservation>("select credits.reserve_credits($1, $2, $3, $4, $5, $6)", idempotencyKey, ct,
            userId, actionType, quantity, ttl ?? HoldTime, metadata ?? [], idempotencyKey);

    /// <summary>Lets a hold last until ttl from now; never shortens it.</summary>
    public async Task<Reservation> ExtendReservationAsync(Guid userId, Guid reservationId, TimeSpan? ttl = null, CancellationToken ct = default) =>
        Done(await _sql.JsonAsync<Reservation>("select credits.extend_reservation($1, $2, $3)", null, ct, userId, reservationId, ttl ?? HoldTime));

    /// <summary>Charges what the work came to (null: as many units as were held); throws when the balance does not cover more than was held, and then the hold stays.</summary>
    public async Task<CommittedReservation> CommitReservationAsync(
        Guid userId, Guid reservationId, decimal? quantity = null, JsonObject? metadata = null, CancellationToken ct = default) =>
        Done(await TryCommitReservationAsync(userId, reservationId, quantity, metadata, ct));

    /// <summary>Charges what the work came to (null: as many units as were held), or says why not; then the hold stays.</summary>
    public Task<CommittedReservation> TryCommitReservationAsync(
        Guid userId, Guid reservationId, decimal? quantity = null, JsonObject? metadata = null, CancellationToken ct = default) =>
        _sql.JsonAsync<CommittedReservation>("select credits.commit_reservation($1, $2, $3, $4)", reservationId.ToString(), ct,
            userId, reservationId, quantity, metadata ?? []);

    /// <summary>Ends a hold without a charge.</summary>
    public async Task<ReleasedReservation> ReleaseReservationAsync(Guid userId, Guid reservationId, string? reason = null, CancellationToken ct = default) =>
        Done(await _sql.JsonAsync<ReleasedReservation>("select credits.release_reservation($1, $2, $3)", reservationId.ToString(), ct, userId, reservationId, reason));

    /// <summary>
    /// Holds the price, does the work, and charges the units that it says it used (<see cref="ReservedWork.Used"/>; as many as were held unless it says so).
    /// On an exception or cancellation the hold is released and the exception rethrown. If more was used than the balance covers, what was held is charged
    /// and <see cref="InsufficientCreditsException"/> thrown. If the process dies, the hold lapses.
    /// </summary>
    public async Task<T> WithReservationAsync<T>(
        Guid userId, string actionType, decimal quantity, Func<ReservedWork, CancellationToken, Task<T>> work, TimeSpan? ttl = null, CancellationToken ct = default)
    {
        var held = await ReserveAsync(userId, actionType, quantity, ttl, ct: ct);
        var reserved = new ReservedWork(held.ReservationId, quantity) { Used = quantity };
        T result;
        try
        {
            await using var _ = Extend(userId, held.ReservationId, ttl ?? HoldTime);
            result = await work(reserved, ct);
        }
        catch
        {
            await ReleaseQuietlyAsync(userId, held.ReservationId);
            throw;
        }

        await SettleAsync(userId, reserved);
        return result;
    }

    /// <summary>
    /// Holds the price, streams the work, and charges the units of what was streamed, also when the consumer stops half-way or the stream fails. The hold is
    /// extended while the stream runs. If more was streamed than the balance covers, what was held is charged and <see cref="InsufficientCreditsException"/>
    /// thrown at the end. If the process dies, the hold lapses.
    /// </summary>
    public async IAsyncEnumerable<T> WithReservationAsync<T>(
        Guid userId, string actionType, decimal quantity, Func<CancellationToken, IAsyncEnumerable<T>> stream, Func<T, decimal> unitsOf, TimeSpan? ttl = null,
        [EnumeratorCancellation] CancellationToken ct = default)
    {
        var held = await ReserveAsync(userId, actionType, quantity, ttl, ct: ct);
        var reserved = new ReservedWork(held.ReservationId, quantity);
        try
        {
            await using var _ = Extend(userId, held.ReservationId, ttl ?? HoldTime);
            await foreach (var item in stream(ct).WithCancellation(ct))
            {
                reserved.Used += unitsOf(item);
                yield return item;
            }
        }
        finally
        {
            await SettleAsync(userId, reserved);
        }
    }

    /// <summary>Also after a cancellation: what was used is charged.</summary>
    private async Task SettleAsync(Guid userId, ReservedWork reserved)
    {
        if (reserved.Used <= 0)
        {
            await ReleaseReservationAsync(userId, reserved.ReservationId);
            return;
        }

        var charged = await TryCommitReservationAsync(userId, reserved.ReservationId, reserved.Used);
        if (charged.Success)
            return;
        await TryCommitReservationAsync(userId, reserved.ReservationId, reserved.Held);
        throw CreditException.From(charged);
    }

    private async Task ReleaseQuietlyAsync(Guid userId, Guid reservationId)
    {
        try
        {
            await ReleaseReservationAsync(userId, reservationId, "the work failed");
        }
        catch (Exception e) when (e is NpgsqlException or CreditException)
        {
            // The hold lapses by itself; what the caller must hear of is why the work failed.
        }
    }

    private HoldExtension Extend(Guid userId, Guid reservationId, TimeSpan ttl) => new(this, userId, reservationId, ttl);

    /// <summary>Keeps a hold from lapsing while the work runs.</summary>
    private sealed class HoldExtension : IAsyncDisposable
    {
        private readonly CancellationTokenSource _stop = new();
        private readonly Task _running;

        public HoldExtension(CreditClient client, Guid userId, Guid reservationId, TimeSpan ttl) =>
            _running = RunAsync(client, userId, reservationId, ttl, _stop.Token);

        public async ValueTask DisposeAsync()
        {
            await _stop.CancelAsync();
            await _running;
            _stop.Dispose();
        }

        private static async Task RunAsync(CreditClient client, Guid userId, Guid reservationId, TimeSpan ttl, CancellationToken stop)
        {
            using var timer = new PeriodicTimer(ttl / 3);
            try
            {
                while (await timer.WaitForNextTickAsync(stop))
                {
                    try
                    {
                        await client.ExtendReservationAsync(userId, reservationId, ttl, stop);
                    }
                    catch (Exception e) when (e is NpgsqlException or CreditException)
                    {
                        // The next tick tries again; a hold that lapsed is charged if the balance allows.
                    }
                }
            }
            catch (OperationCanceledException)
            {
                // The work is done.
            }
        }
    }
}

/// <summary>Work under a hold.</summary>
public sealed class ReservedWork
{
    internal ReservedWork(Guid reservationId, decimal held) => (ReservationId, Held) = (reservationId, held);

    /// <summary>The hold.</summary>
    public Guid ReservationId { get; }

    /// <summary>How many priced units are held.</summary>
    public decimal Held { get; }

    /// <summary>How many the work used; 0 gives the hold back.</summary>
    public decimal Used { get; set; }
}

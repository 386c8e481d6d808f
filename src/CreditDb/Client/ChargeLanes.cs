using System.Buffers;
using System.Text.Json;
using System.Text.Json.Nodes;
using Npgsql;

namespace CreditDb;

/// <summary>
/// Charges together what is asked for at the same time. A lane makes one call at a time: the request of a caller who finds it idle goes out at once, by
/// itself; what comes meanwhile goes out together when that is done. An account always has the same lane, so callers of a hot one queue here and not
/// at its row.
/// </summary>
internal sealed class ChargeLanes
{
    private readonly Lane[] _lanes;

    public ChargeLanes(SqlCaller sql)
    {
        // What cannot go out with others waits for its account on a connection that it has to itself; there are more accounts than connections.
        var few = new SemaphoreSlim(8);
        _lanes = [new Lane(sql, few), new Lane(sql, few)];
    }

    // An id's own hash is its bits, of which the lowest may be all the same.
    public Task<Charge> ChargeAsync(ChargeRequest request, SqlCaller caller, CancellationToken ct) =>
        _lanes[(uint)HashCode.Combine(request.UserId) % _lanes.Length].ChargeAsync(request, caller, ct);

    private sealed class Lane(SqlCaller sql, SemaphoreSlim few)
    {
        private const int MostTogether = 1000;

        // A single call may wait for an account that somebody has locked; those behind it need not. A batch does not wait for accounts.
        private static readonly TimeSpan Patience = TimeSpan.FromMilliseconds(20);

        private readonly Lock _gate = new();
        private readonly LinkedList<Waiting> _waiting = [];

        /// <summary>The call that those behind it wait for; null: the lane is idle.</summary>
        private Call? _call;

        public async Task<Charge> ChargeAsync(ChargeRequest request, SqlCaller caller, CancellationToken ct)
        {
            ct.ThrowIfCancellationRequested();
            // What the caller does with the object later is not what was asked for.
            request = request with { Metadata = (JsonObject?)request.Metadata?.DeepClone() };
            var call = new Call(isSingle: true);
            Waiting? waiting = null;
            lock (_gate)
            {
                if (_call is null)
                {
                    _call = call;
                }
                else
                {
                    if (_waiting.Count == 0 && _call is { IsSingle: true } before)
                        Detached(() => OvertakeAsync(before));
                    _waiting.AddLast(waiting = new Waiting(request, caller, ct));
                }
            }

            if (waiting is not null)
                return await WaitAsync(waiting, ct);
            try
            {
                return await caller.ChargeAsync(request, ct);
            }
            finally
            {
                GoOn(call);
            }
        }

        private async Task<Charge> WaitAsync(Waiting waiting, CancellationToken ct)
        {
            await using var cancelled = ct.UnsafeRegister(
                _ =>
                {
                    lock (_gate)
                        _waiting.Remove(waiting);
                    waiting.Outcome.TrySetCanceled(ct);
                },
                null);
            return await waiting.Outcome.Task;
        }

        private async Task OvertakeAsync(Call call)
        {
            await Task.Delay(Patience);
            GoOn(call);
        }

        /// <summary>The call is done, or takes too long: the next one is for all that wait. Nothing, if another one was begun since.</summary>
        private void GoOn(Call call)
        {
            List<Waiting> next = [];
            Call? began = null;
            lock (_gate)
            {
                if (!ReferenceEquals(_call, call))
                    return;
                while (_waiting.First is { } first && next.Count < MostTogether)
                {
                    _waiting.RemoveFirst();
                    next.Add(first.Value);
                }

                _call = began = next.Count > 0 ? new Call(isSingle: false) : null;
            }

            if (began is not null)
                Detached(() => TogetherAsync(next, began));
        }

        private async Task TogetherAsync(List<Waiting> all, Call call)
        {
            try
            {
                // A call that has keys throughout can be repeated when the connection is lost; the others must not be.
                foreach (var group in all.GroupBy(w => w.Request.IdempotencyKey is not null))
                    await TogetherAsync([.. group], group.Key, waits: false);
            }
            catch (Exception e)
            {
                foreach (var waiting in all)
                    waiting.Outcome.TrySetException(e);
            }
            finally
            {
                GoOn(call);
            }
        }

        private async Task TogetherAsync(List<Waiting> all, bool haveKeys, bool waits)
        {
            var batch = new List<Waiting>();
            var busy = new List<Waiting>();
            var alone = new List<Waiting>();
            var items = new ArrayBufferWriter<byte>();
            foreach (var waiting in all.Where(w => !w.Outcome.Task.IsCompleted))
            {
                if (waiting.Json() is { } json)
                {
                    items.Write(batch.Count > 0 ? ","u8 : "["u8);
                    items.Write(json);
                    batch.Add(waiting);
                }
                else
                {
                    alone.Add(waiting);
                }
            }

            if (batch.Count > 0)
            {
                try
                {
                    items.Write("]"u8);
                    var outcomes = await sql.ChargeTogetherAsync(items.WrittenMemory, haveKeys, waits, CancellationToken.None);
                    if (outcomes.Count != batch.Count)
                        throw new InvalidOperationException($"{outcomes.Count} outcomes for {batch.Count} requests.");
                    foreach (var (waiting, outcome) in batch.Zip(outcomes))
                    {
                        if (!waiting.Done(outcome))
                            busy.Add(waiting);
                    }
                }
                catch (Exception e) when (e is CreditException || e is PostgresException { SqlState: var state } && !state.StartsWith("08", StringComparison.Ordinal) && !state.StartsWith("57P", StringComparison.Ordinal))
                {
                    // Nothing was charged. By itself, each gets its own answer, and one that the server cannot bear is no neighbour's trouble.
                    alone.AddRange(batch);
                }
                catch (Exception e)
                {
                    foreach (var waiting in batch)
                        waiting.Outcome.TrySetException(e);
                }
            }

            foreach (var group in busy.GroupBy(w => w.Request.UserId))
                Detached(() => LaterAsync([.. group], haveKeys));
            foreach (var group in alone.GroupBy(w => w.Request.UserId))
                Detached(() => AloneAsync([.. group]));
        }

        /// <summary>Charges those of an account that somebody has locked: one waits until it is free, for whoever gives up meanwhile must not be charged; then the others together.</summary>
        private async Task LaterAsync(List<Waiting> ofUser, bool haveKeys)
        {
            await AloneAsync([ofUser[0]]);
            await few.WaitAsync();
            try
            {
                await TogetherAsync(ofUser[1..], haveKeys, waits: true);
            }
            finally
            {
                few.Release();
            }
        }

        private async Task AloneAsync(List<Waiting> ofUser)
        {
            foreach (var waiting in ofUser)
            {
                await few.WaitAsync();
                try
                {
                    await waiting.ByItselfAsync();
                }
                finally
                {
                    few.Release();
                }
            }
        }

        /// <summary>Runs outside of the transaction scope and the trace of whoever happens to be there: what is done is not for that caller alone.</summary>
        private static void Detached(Func<Task> work)
        {
            using (ExecutionContext.IsFlowSuppressed() ? (AsyncFlowControl?)null : ExecutionContext.SuppressFlow())
                _ = Task.Run(work);
        }
    }

    /// <summary>By reference: which call it is.</summary>
    private sealed class Call(bool isSingle)
    {
        public bool IsSingle => isSingle;
    }

    private sealed class Waiting(ChargeRequest request, SqlCaller caller, CancellationToken ct)
    {
        public TaskCompletionSource<Charge> Outcome { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public ChargeRequest Request => request;

        /// <summary>The request as an item of a batch; null if it cannot be one.</summary>
        public byte[]? Json()
        {
            try
            {
                var item = new
                {
                    request.UserId,
                    request.ActionType,
                    request.Quantity,
                    request.ReferenceId,
                    request.Metadata,
                    request.IdempotencyKey,
                    caller.Actor,
                };
                var json = JsonSerializer.SerializeToUtf8Bytes(item, SqlCaller.Json);
                return json.AsSpan().IndexOf("\\u0000"u8) >= 0 ? null : json;
            }
            catch (Exception e) when (e is JsonException or InvalidOperationException or NotSupportedException or ArgumentException)
            {
                return null;
            }
        }

        public async Task ByItselfAsync()
        {
            if (Outcome.Task.IsCompleted)
                return;
            try
            {
                Outcome.TrySetResult(await caller.ChargeAsync(request, ct));
            }
            catch (Exception e)
            {
                Outcome.TrySetException(e);
            }
        }

        /// <summary>Passes the outcome on as a call by itself would have it: what is no outcome there is thrown. False: somebody has locked the account.</summary>
        public bool Done(Charge outcome)
        {
            if (outcome.Code == "busy")
                return false;
            if (CreditException.OfItem(outcome) is { } refused)
                Outcome.TrySetException(refused);
            else
                Outcome.TrySetResult(outcome);
            return true;
        }
    }
}

using System.Text;
using System.Text.Json;
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

    public ChargeLanes(SqlCaller sql) => _lanes = [new Lane(sql), new Lane(sql)];

    public Task<Charge> ChargeAsync(ChargeRequest request, SqlCaller caller, CancellationToken ct) =>
        _lanes[(uint)request.UserId.GetHashCode() % _lanes.Length].ChargeAsync(request, caller, ct);

    private sealed class Lane(SqlCaller sql)
    {
        private const int MostTogether = 1000;

        // A single call may wait for an account that somebody has locked; those behind it need not.
        private static readonly TimeSpan Patience = TimeSpan.FromMilliseconds(20);

        private readonly Lock _gate = new();
        private readonly LinkedList<Waiting> _waiting = [];

        /// <summary>The call that those behind it wait for; null: the lane is idle.</summary>
        private object? _call;

        public async Task<Charge> ChargeAsync(ChargeRequest request, SqlCaller caller, CancellationToken ct)
        {
            ct.ThrowIfCancellationRequested();
            var call = new object();
            Waiting? waiting = null;
            lock (_gate)
            {
                if (_call is null)
                {
                    _call = call;
                }
                else
                {
                    if (_waiting.Count == 0)
                        _ = OvertakeAsync(_call);
                    _waiting.AddLast(waiting = new Waiting(request, caller));
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

        private async Task OvertakeAsync(object call)
        {
            await Task.Delay(Patience);
            GoOn(call);
        }

        /// <summary>The call is done, or takes too long: the next one is for all that wait. Nothing, if another one was begun since.</summary>
        private void GoOn(object call)
        {
            List<Waiting> next = [];
            object? began = null;
            lock (_gate)
            {
                if (_call != call)
                    return;
                while (_waiting.First is { } first && next.Count < MostTogether)
                {
                    _waiting.RemoveFirst();
                    next.Add(first.Value);
                }

                _call = began = next.Count > 0 ? new object() : null;
                if (_waiting.Count > 0)
                    _ = OvertakeAsync(began!);
            }

            if (began is not null)
                _ = Task.Run(() => TogetherAsync(next, began));
        }

        private async Task TogetherAsync(List<Waiting> all, object call)
        {
            try
            {
                // A call that has keys throughout can be repeated when the connection is lost; the others must not be.
                foreach (var group in all.GroupBy(w => w.Request.IdempotencyKey is not null))
                    await TogetherAsync([.. group], group.Key);
            }
            finally
            {
                GoOn(call);
            }
        }

        private async Task TogetherAsync(List<Waiting> all, bool haveKeys)
        {
            var batch = new List<Waiting>();
            var items = new StringBuilder("[");
            foreach (var waiting in all)
            {
                if (waiting.Json() is not { } json)
                {
                    waiting.ByItself();
                    continue;
                }

                items.Append(batch.Count > 0 ? "," : "").Append(json);
                batch.Add(waiting);
            }

            if (batch.Count == 0)
                return;
            if (batch.Count == 1)
            {
                await batch[0].ByItselfAsync();
                return;
            }

            try
            {
                var outcomes = await sql.RowsAsync(
                    "select result from credits.deduct_credits_batch($1::text::jsonb, false)", haveKeys ? "of each" : null,
                    reader => JsonSerializer.Deserialize<Charge>(reader.GetString(0), SqlCaller.Json)!, CancellationToken.None, items.Append(']').ToString());
                foreach (var (waiting, outcome) in batch.Zip(outcomes))
                    waiting.Done(outcome);
            }
            catch (PostgresException e) when (e.SqlState.StartsWith("22", StringComparison.Ordinal) || e.SqlState.StartsWith("54", StringComparison.Ordinal))
            {
                // One of them is what the server cannot read or bear. Nothing was charged; by itself, each gets its own answer.
                foreach (var waiting in batch)
                    waiting.ByItself();
            }
            catch (Exception e)
            {
                foreach (var waiting in batch)
                    waiting.Outcome.TrySetException(e);
            }
        }
    }

    private sealed class Waiting(ChargeRequest request, SqlCaller caller)
    {
        public TaskCompletionSource<Charge> Outcome { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public ChargeRequest Request => request;

        /// <summary>The request as an item of a batch; null if it cannot be one, or nobody waits any more.</summary>
        public string? Json()
        {
            if (Outcome.Task.IsCompleted)
                return null;
            try
            {
                var item = JsonSerializer.SerializeToNode(request, SqlCaller.Json)!.AsObject();
                if (caller.Actor is { } actor)
                    item["actor"] = actor;
                return item.ToJsonString() is var json && json.Contains("\\u0000", StringComparison.Ordinal) ? null : json;
            }
            catch (Exception e) when (e is JsonException or InvalidOperationException or NotSupportedException or ArgumentException)
            {
                return null;
            }
        }

        public void ByItself() => _ = Task.Run(ByItselfAsync);

        public async Task ByItselfAsync()
        {
            if (Outcome.Task.IsCompleted)
                return;
            try
            {
                Outcome.TrySetResult(await caller.ChargeAsync(request, CancellationToken.None));
            }
            catch (Exception e)
            {
                Outcome.TrySetException(e);
            }
        }

        /// <summary>Passes the outcome on as a call by itself would have it: what is no outcome there is thrown.</summary>
        public void Done(Charge outcome)
        {
            if (outcome.Code == "busy")
                ByItself();
            else if (CreditException.OfItem(outcome) is { } refused)
                Outcome.TrySetException(refused);
            else
                Outcome.TrySetResult(outcome);
        }
    }
}

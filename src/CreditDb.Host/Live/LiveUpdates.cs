using CreditDb.Host.Access;
using CreditDb.Host.Api;
using Microsoft.Extensions.Options;

namespace CreditDb.Host.Live;

/// <summary>
/// Those who watch, and what tells them: the API after each write, and one look at the change counters of all watched users a few times a second. While nobody
/// watches, nothing is read.
/// </summary>
internal sealed partial class LiveUpdates(SqlCaller sql, ApiKeys keys, LiveMetrics metrics, IOptions<LiveOptions> options, TimeProvider time, ILogger<LiveUpdates> logger)
    : BackgroundService
{
    private const int EntriesPerRead = 200;
    private const int ReadsAtOnce = 8;
    private static readonly TimeSpan ReadTimeout = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan KeyInterval = TimeSpan.FromSeconds(2);

    private readonly Lock _lock = new();
    private readonly Dictionary<Guid, UserWatch> _watches = [];
    private readonly Dictionary<string, HashSet<LiveSubscription>> _subscriptions = new(StringComparer.Ordinal);

    // The API keeps its connections, however many streams wake at once.
    private readonly SemaphoreSlim _reads = new(ReadsAtOnce);
    private TaskCompletionSource _somebody = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private volatile bool _isAway;

    /// <summary>How many streams are open.</summary>
    public int Streams
    {
        get
        {
            lock (_lock)
                return _subscriptions.Values.Sum(s => s.Count);
        }
    }

    public LiveSubscription Subscribe(Guid user, string keyId)
    {
        lock (_lock)
        {
            if (_watches.TryGetValue(user, out var watch) && watch.Count >= options.Value.StreamsPerUser)
                throw new ProblemException(429, "too_many_streams", $"The user has {watch.Count} streams of events open; close one first.");
            if (_subscriptions.TryGetValue(keyId, out var ofKey) && ofKey.Count >= options.Value.StreamsPerKey)
                throw new ProblemException(429, "too_many_streams", $"The key has {ofKey.Count} streams of events open; close one first.");
            if (watch is null)
                _watches.Add(user, watch = new UserWatch(user, this, time));
            if (ofKey is null)
                _subscriptions.Add(keyId, ofKey = []);
            var subscription = new LiveSubscription(this, watch, keyId);
            watch.Add(subscription);
            ofKey.Add(subscription);
            _somebody.TrySetResult();
            metrics.Opened();
            return subscription;
        }
    }

    public void Remove(LiveSubscription subscription)
    {
        lock (_lock)
        {
            if (!_subscriptions.TryGetValue(subscription.KeyId, out var ofKey) || !ofKey.Remove(subscription))
                return;
            if (ofKey.Count == 0)
                _subscriptions.Remove(subscription.KeyId);
            subscription.Watch.Remove(subscription);
            if (subscription.Watch.Count == 0)
                _watches.Remove(subscription.Watch.UserId);
            if (_watches.Count == 0)
                _somebody = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            metrics.Closed();
        }
    }

    /// <summary>Something of the user was written here: who watches is shown it at once.</summary>
    public void Touch(Guid user)
    {
        UserWatch? watch;
        lock (_lock)
            _watches.TryGetValue(user, out watch);
        watch?.Touch();
    }

    /// <summary>What comes after a position, or a snapshot.</summary>
    public async Task<LiveChanges> ReadAsync(Guid user, LivePosition? from)
    {
        using var timeout = new CancellationTokenSource(ReadTimeout, time);
        await _reads.WaitAsync(timeout.Token);
        try
        {
            var changes = CreditClient.Done(await sql.JsonAsync<LiveChanges>(
                "select credits.get_changes($1, $2, $3)", null, timeout.Token, user, from?.ToJson(), EntriesPerRead));
            metrics.Read(changes);
            return changes;
        }
        finally
        {
            _reads.Release();
        }
    }

    /// <summary>Told in the log once, until a poll succeeds.</summary>
    public void Interrupt(Exception error)
    {
        if (!_isAway)
            Interrupted(error);
        _isAway = true;
    }

    protected override Task ExecuteAsync(CancellationToken stoppingToken) => Task.WhenAll(
        WhileWatchedAsync(PollAsync, TimeSpan.FromMilliseconds(options.Value.PollMilliseconds), stoppingToken),
        WhileWatchedAsync(CheckKeysAsync, KeyInterval, stoppingToken));

    public override void Dispose()
    {
        _reads.Dispose();
        base.Dispose();
    }

    private async Task WhileWatchedAsync(Func<CancellationToken, Task> work, TimeSpan interval, CancellationToken ct)
    {
        while (!ct.IsCancellationRequested)
        {
            try
            {
                Task somebody;
                lock (_lock)
                    somebody = _somebody.Task;
                await somebody.WaitAsync(ct);
                using var timeout = CancellationTokenSource.CreateLinkedTokenSource(ct);
                timeout.CancelAfter(ReadTimeout);
                await work(timeout.Token);
                await Task.Delay(interval, time, ct);
            }
            catch (OperationCanceledException) when (ct.IsCancellationRequested)
            {
                return;
            }
            catch (Exception e)
            {
                // Streams stay open; what is missed now is read when the database is back.
                Interrupt(e);
                await Task.Delay(interval, time, ct).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            }
        }
    }

    private async Task PollAsync(CancellationToken ct)
    {
        Dictionary<Guid, UserWatch> watched;
        lock (_lock)
            watched = new Dictionary<Guid, UserWatch>(_watches);
        var known = watched.Values.Select(w => w.Known).ToArray();
        var changed = await sql.RowsAsync(
            "select user_id, change_no, is_due from credits.get_changed_users($1, $2, $3)",
            null,
            r => (UserId: r.GetGuid(0), ChangeNo: r.GetInt64(1), IsDue: r.GetBoolean(2)),
            ct,
            watched.Keys.ToArray(),
            known.Select(k => k.ChangeNo).ToArray(),
            known.Select(k => k.DueAt?.UtcDateTime).ToArray());
        foreach (var (userId, changeNo, isDue) in changed)
            watched[userId].Changed(changeNo, isDue);
        if (_isAway)
            GoesOn();
        _isAway = false;
    }

    /// <summary>A stream is worth no more than its key.</summary>
    private async Task CheckKeysAsync(CancellationToken ct)
    {
        string[] all;
        lock (_lock)
            all = [.. _subscriptions.Keys];
        foreach (var keyId in all)
        {
            if (await keys.FindAsync(keyId, null, ct) is not null)
                continue;
            lock (_lock)
            {
                foreach (var subscription in _subscriptions.GetValueOrDefault(keyId) ?? [])
                    _ = Task.Run(subscription.EndKey, CancellationToken.None);
            }
        }
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "Live updates wait for the database")]
    private partial void Interrupted(Exception exception);

    [LoggerMessage(Level = LogLevel.Information, Message = "Live updates go on")]
    private partial void GoesOn();
}

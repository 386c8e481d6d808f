namespace CreditDb.Host.Live;

/// <summary>A user whom at least one stream shows. Streams at the same position share what is read for them.</summary>
internal sealed class UserWatch(Guid userId, LiveUpdates updates, TimeProvider time)
{
    /// <summary>A user who is charged all the time is shown so ten times a second: every entry, and the last balance.</summary>
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(100);

    private readonly Lock _lock = new();
    private readonly List<LiveSubscription> _subscriptions = [];
    private (long Generation, string From, Task<LiveBatch> Read)? _shared;
    private long _generation;
    private long? _changeNo;
    private long? _woken;
    private bool _isScheduled;

    public Guid UserId => userId;

    public int Count
    {
        get
        {
            lock (_lock)
                return _subscriptions.Count;
        }
    }

    /// <summary>
    /// For the next poll: the change counter that the last one returned, null if it is to return one in any case; and when a stream's balance changes by time
    /// alone. Only the poll moves the counter: what one stream has read says nothing of the others.
    /// </summary>
    public (long? ChangeNo, DateTimeOffset? DueAt) Known
    {
        get
        {
            lock (_lock)
                return (_changeNo, _subscriptions.Min(s => s.DueAt));
        }
    }

    public void Add(LiveSubscription subscription)
    {
        lock (_lock)
            _subscriptions.Add(subscription);
    }

    public void Remove(LiveSubscription subscription)
    {
        lock (_lock)
            _subscriptions.Remove(subscription);
    }

    /// <summary>The user was written to, here: every stream reads what comes after its position.</summary>
    public void Touch()
    {
        TimeSpan wait;
        lock (_lock)
        {
            if (_isScheduled)
                return;
            wait = _woken is { } last ? Pause - time.GetElapsedTime(last) : TimeSpan.Zero;
            if (wait <= TimeSpan.Zero)
            {
                Wake();
                return;
            }

            _isScheduled = true;
        }

        _ = WakeLaterAsync(wait);
    }

    /// <summary>What a poll returned.</summary>
    public void Changed(long changeNo, bool isDue)
    {
        bool isNews;
        lock (_lock)
        {
            _changeNo = changeNo;
            isNews = isDue || _subscriptions.Exists(s => s.ChangeNo != changeNo);
            if (isDue)
                _subscriptions.ForEach(s => s.DueAt = null);
        }

        if (isNews)
            Touch();
    }

    /// <summary>What a new stream begins with: what comes after a position, or a snapshot.</summary>
    public async Task<LiveBatch> BeginAsync(LiveSubscription subscription, LivePosition? from)
    {
        var batch = await ReadNowAsync(from);
        Note(subscription, batch);
        return batch;
    }

    /// <summary>What comes after a position; null if the database is away: the first poll that succeeds wakes the stream.</summary>
    public async Task<LiveBatch?> ReadAsync(LiveSubscription subscription, LivePosition from)
    {
        LiveBatch? batch = null;
        try
        {
            batch = await SharedAsync(from);
        }
        catch (Exception e)
        {
            updates.Interrupt(e);
        }

        Note(subscription, batch);
        return batch;
    }

    private void Note(LiveSubscription subscription, LiveBatch? batch)
    {
        lock (_lock)
        {
            (subscription.ChangeNo, subscription.DueAt) = (batch?.ChangeNo, batch?.DueAt);
            if (batch is null)
                _changeNo = null;
        }
    }

    // A read that began after the signal that woke a stream has all that the signal was about.
    private Task<LiveBatch> SharedAsync(LivePosition from)
    {
        lock (_lock)
        {
            var text = from.ToString();
            if (_shared is not { } shared || shared.Generation != _generation || shared.From != text)
                _shared = shared = (_generation, text, ReadNowAsync(from));
            return shared.Read;
        }
    }

    private async Task<LiveBatch> ReadNowAsync(LivePosition? from) =>
        LiveBatch.Of(await updates.ReadAsync(userId, from), from ?? LivePosition.Start(userId));

    private async Task WakeLaterAsync(TimeSpan wait)
    {
        await Task.Delay(wait, time);
        lock (_lock)
        {
            _isScheduled = false;
            Wake();
        }
    }

    private void Wake()
    {
        _generation++;
        _woken = time.GetTimestamp();
        _subscriptions.ForEach(s => s.Wake());
    }
}

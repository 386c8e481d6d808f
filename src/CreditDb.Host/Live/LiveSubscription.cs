namespace CreditDb.Host.Live;

/// <summary>A stream's place among those who watch; it ends with the stream.</summary>
internal sealed class LiveSubscription(LiveUpdates updates, UserWatch watch, string keyId) : IDisposable
{
    private readonly SemaphoreSlim _news = new(0, 1);
    private readonly CancellationTokenSource _keyIsGone = new();

    public UserWatch Watch => watch;

    public string KeyId => keyId;

    /// <summary>The user's change counter at this stream's last read, and when the balance changes by time alone. The watch guards both.</summary>
    public long? ChangeNo { get; set; }

    public DateTimeOffset? DueAt { get; set; }

    /// <summary>Ends the stream: the key, or the one that minted the token, is no longer valid.</summary>
    public CancellationToken KeyIsGone => _keyIsGone.Token;

    /// <summary>True when there may be news, false after the time.</summary>
    public Task<bool> WaitAsync(TimeSpan atMost, CancellationToken ct) => _news.WaitAsync(atMost, ct);

    /// <summary>Called by the watch, one call at a time.</summary>
    public void Wake()
    {
        if (_news.CurrentCount == 0)
            _news.Release();
    }

    public void EndKey() => _keyIsGone.Cancel();

    // Nothing here holds a resource that the collector would not free; who wakes a stream that is ending must not find it disposed.
    public void Dispose() => updates.Remove(this);
}

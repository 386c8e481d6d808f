using System.Globalization;
using System.Text;
using System.Text.Json;

namespace CreditDb.Host.Live;

/// <summary>Events as they go over the wire, made once for all streams that are at the same position.</summary>
internal sealed class LiveBatch
{
    public const string Snapshot = "snapshot";
    public const string Balance = "balance";
    public const string Entry = "entry";
    public const string Notification = "notification";

    private readonly StringBuilder _text = new();
    private readonly Dictionary<string, int> _counts = new(StringComparer.Ordinal);

    private LiveBatch(LiveChanges changes, LivePosition from) => (ChangeNo, DueAt, To) = (changes.ChangeNo, changes.DueAt, from);

    public long ChangeNo { get; }

    public DateTimeOffset? DueAt { get; }

    public ReadOnlyMemory<byte> Bytes { get; private set; }

    /// <summary>How many events of each type.</summary>
    public IReadOnlyDictionary<string, int> Counts => _counts;

    /// <summary>Where a stream is that has sent this.</summary>
    public LivePosition To { get; private set; }

    /// <summary>Whether there is more than one read returns.</summary>
    public bool HasMore { get; private set; }

    public static LiveBatch Of(LiveChanges changes, LivePosition from)
    {
        var batch = new LiveBatch(changes, from);
        if (changes.IsSnapshot)
            batch.AddSnapshot(changes);
        else
            Array.ForEach(changes.Wallets, batch.AddWallet);
        batch.Bytes = Encoding.UTF8.GetBytes(batch._text.ToString());
        batch._text.Clear();
        return batch;
    }

    /// <summary>How long a client waits before it comes back: not all at once when a host stops.</summary>
    public static byte[] Retry() => Encoding.UTF8.GetBytes(string.Create(CultureInfo.InvariantCulture, $"retry: {Random.Shared.Next(1000, 5000)}\n\n"));

    /// <summary>The last event of a stream that the host ends.</summary>
    public static byte[] End(string reason) => Encoding.UTF8.GetBytes(Line("end", new { reason }));

    private static string Line(string type, object data) => $"event: {type}\ndata: {JsonSerializer.Serialize(data, JsonSerializerOptions.Web)}\n\n";

    private static LivePosition.Mark Complete(LiveWallet wallet, long entryNo) => new(entryNo, wallet.ChangeNo, wallet.Balance.EntryNo, wallet.ChangeNo);

    private void AddSnapshot(LiveChanges changes)
    {
        // What the client had before is replaced.
        To = LivePosition.Start(changes.UserId);
        foreach (var wallet in changes.Wallets)
            To = To.With(wallet.CreditType, Complete(wallet, wallet.Entries.Length > 0 ? wallet.Entries[^1].EntryNo : 0));
        Add(Snapshot, new LiveSnapshot(
            changes.Wallets.Select(w => w.Balance),
            changes.Wallets.SelectMany(w => w.Notifications).OrderByDescending(n => n.UpdatedAt),
            changes.Wallets.SelectMany(w => w.Entries).OrderByDescending(e => e.CreatedAt).ThenByDescending(e => e.EntryNo)));
    }

    private void AddWallet(LiveWallet wallet)
    {
        var mark = To[wallet.CreditType];
        foreach (var entry in wallet.Entries)
        {
            mark = mark with { EntryNo = entry.EntryNo };
            Add(Entry, entry, wallet.CreditType, mark);
        }

        for (var i = 0; i < wallet.Notifications.Length; i++)
        {
            var told = wallet.Notifications[i];
            var isLastOfItsMoment = i + 1 < wallet.Notifications.Length ? wallet.Notifications[i + 1].ChangeNo > told.ChangeNo : wallet.IsComplete;
            mark = mark with { ToldNo = told.ChangeNo, ToldId = isLastOfItsMoment ? null : told.NotificationId };
            Add(Notification, told, wallet.CreditType, mark);
        }

        if (!wallet.IsComplete)
        {
            HasMore = true;
            return;
        }

        var isNews = wallet.ChangeNo != mark.ChangeNo || wallet.Balance.EntryNo != mark.ShownNo;
        mark = Complete(wallet, mark.EntryNo);
        if (isNews)
            Add(Balance, wallet.Balance, wallet.CreditType, mark);
        else
            To = To.With(wallet.CreditType, mark);
    }

    private void Add(string type, object data, string creditType, LivePosition.Mark mark)
    {
        To = To.With(creditType, mark);
        Add(type, data);
    }

    private void Add(string type, object data)
    {
        _text.Append("id: ").Append(To).Append('\n').Append(Line(type, data));
        _counts[type] = _counts.GetValueOrDefault(type) + 1;
    }
}

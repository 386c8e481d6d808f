using System.Text.Json.Nodes;
using System.Text.Json.Serialization;
using CreditDb.Host.Api;

namespace CreditDb.Host.Live;

/// <summary>What credits.get_changes returns.</summary>
internal sealed record LiveChanges : Outcome
{
    public Guid UserId { get; init; }

    public bool IsSnapshot { get; init; }

    public DateTimeOffset Now { get; init; }

    public long ChangeNo { get; init; }

    public DateTimeOffset? DueAt { get; init; }

    public LiveWallet[] Wallets { get; init; } = [];
}

internal sealed record LiveWallet(
    string CreditType, long ChangeNo, bool IsComplete, Balance Balance, LiveEntry[] Entries, LiveNotification[] Notifications);

/// <summary>A movement of the ledger, without the metadata, which have no bound here.</summary>
internal sealed record LiveEntry(
    string CreditType, long EntryNo, DateTimeOffset CreatedAt, string Kind, decimal Amount, decimal BalanceAfter, string? ActionType, decimal? UnitPrice,
    decimal? Quantity, int? DurationSeconds, string? RowSource, string? RowId, Guid? ReferenceId, string? Reference, long? RelatedEntryNo);

/// <summary>Something that a person should be told, told again, or (with a time in ReadAt) has read.</summary>
internal sealed record LiveNotification(
    Guid NotificationId, string Type, string Severity, string CreditType, string? ActionType, string Title, string Message,
    [property: JsonConverter(typeof(EngineJsonConverter))] JsonNode Details, int Repeats,
    DateTimeOffset CreatedAt, DateTimeOffset UpdatedAt, DateTimeOffset? ReadAt)
{
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWriting)]
    public long ChangeNo { get; init; }
}

/// <summary>How a stream begins.</summary>
internal sealed record LiveSnapshot(IEnumerable<Balance> Balances, IEnumerable<LiveNotification> Notifications, IEnumerable<LiveEntry> Entries);

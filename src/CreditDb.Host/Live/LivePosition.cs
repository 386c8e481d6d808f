using System.Buffers;
using System.Collections.Immutable;
using System.Globalization;
using System.Security.Cryptography;
using System.Text.Json.Nodes;

namespace CreditDb.Host.Live;

/// <summary>How far a stream has come, per credit type. As text it is the id of an event, which a client sends back to go on from there.</summary>
internal sealed class LivePosition
{
    private const string Version = "1";

    private static readonly SearchValues<char> Letters = SearchValues.Create("abcdefghijklmnopqrstuvwxyz0123456789_");

    private readonly string _user;
    private readonly ImmutableSortedDictionary<string, Mark> _marks;

    private LivePosition(string user, ImmutableSortedDictionary<string, Mark> marks) => (_user, _marks) = (user, marks);

    public Mark this[string creditType] => _marks.GetValueOrDefault(creditType, new Mark(0, 0, 0, 0));

    public static LivePosition Start(Guid user) => new(Tag(user), ImmutableSortedDictionary.Create<string, Mark>(StringComparer.Ordinal));

    public LivePosition With(string creditType, Mark mark) => new(_user, _marks.SetItem(creditType, mark));

    /// <summary>Null for what is no position of this user: the stream then begins anew.</summary>
    public static LivePosition? Parse(string? text, Guid user)
    {
        if (text is not { Length: > 0 and <= 4096 } || text.Split('.') is not [Version, var tag, .. var parts] || tag != Tag(user) || parts.Length == 0)
            return null;
        var position = Start(user);
        foreach (var part in parts)
        {
            if (part.Split(':') is not [{ Length: > 0 and <= 63 } creditType, var entryNo, var changeNo, var shownNo, .. { Length: <= 2 } told]
                || creditType.AsSpan().IndexOfAnyExcept(Letters) >= 0
                || !TryNumber(entryNo, out var entry) || !TryNumber(changeNo, out var change) || !TryNumber(shownNo, out var shown))
                return null;
            var (toldNo, toldId) = (change, Guid.Empty);
            if ((told.Length > 0 && !TryNumber(told[0], out toldNo)) || (told.Length > 1 && (told[1].Length != 32 || !Guid.TryParseExact(told[1], "N", out toldId))))
                return null;
            position = position.With(creditType, new Mark(entry, change, shown, toldNo, toldId == Guid.Empty ? null : toldId));
        }

        return position;
    }

    public override string ToString() => string.Join('.', _marks.Select(m => $"{m.Key}:{m.Value}").Prepend(_user).Prepend(Version));

    public JsonObject ToJson() => new(_marks.Select(m => KeyValuePair.Create(m.Key, (JsonNode?)new JsonObject
    {
        ["entry_no"] = m.Value.EntryNo,
        ["change_no"] = m.Value.ChangeNo,
        ["told_no"] = m.Value.ToldNo,
        ["told_id"] = m.Value.ToldId?.ToString(),
    })));

    private static bool TryNumber(string text, out long number) => long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out number);

    // No secret: whose position it is, so that one user's is not taken for another's.
    private static string Tag(Guid user) => Convert.ToHexStringLower(SHA256.HashData(user.ToByteArray())[..4]);

    /// <summary>What of a wallet was sent.</summary>
    /// <param name="EntryNo">The last entry.</param>
    /// <param name="ChangeNo">The wallet's change counter when its balance was sent.</param>
    /// <param name="ShownNo">The entry number of that balance, which counts what is due and not yet written.</param>
    /// <param name="ToldNo">The change counter of the last notification, or of the wallet when there was no further one.</param>
    /// <param name="ToldId">That notification, if others of the same moment may follow.</param>
    internal sealed record Mark(long EntryNo, long ChangeNo, long ShownNo, long ToldNo, Guid? ToldId = null)
    {
        public override string ToString() => string.Create(
            CultureInfo.InvariantCulture,
            $"{EntryNo}:{ChangeNo}:{ShownNo}{(ToldNo == ChangeNo && ToldId is null ? "" : $":{ToldNo}")}{(ToldId is { } id ? $":{id:N}" : "")}");
    }
}

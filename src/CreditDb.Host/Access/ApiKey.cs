using System.Buffers;
using System.Security.Cryptography;
using System.Text;

namespace CreditDb.Host.Access;

/// <summary>A key as its holder has it: cdb_ID_SECRET, of which the id is no secret.</summary>
internal sealed record ApiKey(string Id, string Secret)
{
    private const string Alphabet = "abcdefghijklmnopqrstuvwxyz234567";
    private const string Prefix = "cdb_";
    private const int IdLength = 12;

    // 52 characters of 5 bits each.
    private const int SecretLength = 52;

    private static readonly SearchValues<char> Letters = SearchValues.Create(Alphabet);

    public static ApiKey New() => new(RandomNumberGenerator.GetString(Alphabet, IdLength), RandomNumberGenerator.GetString(Alphabet, SecretLength));

    public static ApiKey? Parse(string text) =>
        text.Length == Prefix.Length + IdLength + 1 + SecretLength && text.StartsWith(Prefix, StringComparison.Ordinal) && text[Prefix.Length + IdLength] == '_'
            && text.AsSpan(Prefix.Length, IdLength).IndexOfAnyExcept(Letters) < 0
            ? new ApiKey(text.Substring(Prefix.Length, IdLength), text[^SecretLength..])
            : null;

    public byte[] Hash(byte[] hashKey) => HMACSHA256.HashData(hashKey, Encoding.ASCII.GetBytes(Secret));

    public bool Matches(KeyCheck check) => CryptographicOperations.FixedTimeEquals(Hash(check.HashKey), check.Hash);

    /// <summary>The key in full: shown once, when it is made.</summary>
    public string Reveal() => $"{Prefix}{Id}_{Secret}";

    /// <summary>The readable part alone, so that no log has the secret.</summary>
    public override string ToString() => Prefix + Id;
}

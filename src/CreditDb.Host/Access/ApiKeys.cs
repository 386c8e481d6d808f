using System.Collections.Concurrent;
using System.Security.Cryptography;
using System.Threading.RateLimiting;
using CreditDb.Host.Api;
using Microsoft.Extensions.Caching.Memory;

namespace CreditDb.Host.Access;

/// <summary>The keys of the API. What the database says of a key holds for a few seconds, so a revoked one ends within them.</summary>
internal sealed class ApiKeys(SqlCaller sql) : IDisposable
{
    private static readonly TimeSpan Remembered = TimeSpan.FromSeconds(5);

    private readonly MemoryCache _checks = new(new MemoryCacheOptions { SizeLimit = 100_000 });
    private readonly ConcurrentDictionary<string, bool> _known = new(StringComparer.Ordinal);

    /// <summary>What the database is just being asked, once for all who come meanwhile.</summary>
    private readonly Dictionary<string, Task<KeyCheck?>> _asked = new(StringComparer.Ordinal);

    // Whoever guesses keys does not get to ask the database as often as he likes; keys that were right before always may.
    private readonly PartitionedRateLimiter<string> _guesses = PartitionedRateLimiter.Create<string, string>(address =>
        RateLimitPartition.GetTokenBucketLimiter(address, _ => new TokenBucketRateLimiterOptions
        {
            TokenLimit = 100,
            TokensPerPeriod = 20,
            ReplenishmentPeriod = TimeSpan.FromSeconds(1),
            QueueLimit = 0,
        }));

    /// <summary>What a key is checked by, if it is valid now; null if it is unknown, revoked or expired. The guesser is an address whose word the id is; null: our own.</summary>
    public async ValueTask<KeyCheck?> FindAsync(string keyId, string? guesser, CancellationToken ct)
    {
        if (_checks.TryGetValue(keyId, out KeyCheck? check))
            return check;
        Task<KeyCheck?>? asked;
        lock (_asked)
        {
            if (!_asked.TryGetValue(keyId, out asked))
            {
                LimitGuesses(keyId, guesser);
                _asked[keyId] = asked = Task.Run(() => AskAsync(keyId), CancellationToken.None);
            }
        }

        return await asked.WaitAsync(ct);
    }

    /// <summary>Makes a key. Only what is returned has its secret.</summary>
    public async Task<CreatedKey> CreateAsync(string name, string[] scopes, Guid? forUser, DateTimeOffset? expiresAt, string actor, CancellationToken ct)
    {
        var key = ApiKey.New();
        var hashKey = RandomNumberGenerator.GetBytes(32);
        var created = CreditClient.Done(await sql.As(actor).JsonAsync<CreatedKey>(
            "select credits.create_api_key($1, $2, $3, $4, $5, $6, $7)", null, ct, key.Id, name, scopes, hashKey, key.Hash(hashKey), forUser, expiresAt));
        _known[key.Id] = true;
        return created with { Key = key.Reveal() };
    }

    public Task<List<ListedKey>> ListAsync(CancellationToken ct) => sql.RowsAsync(
        "select key_id, key_name, scopes, for_user, created_at, created_by, expires_at, revoked_at, last_used_at from credits.list_api_keys()",
        null,
        r => new ListedKey(
            r.GetString(0), r.GetString(1), r.GetFieldValue<string[]>(2), r.GetFieldValue<Guid?>(3), r.GetFieldValue<DateTimeOffset>(4),
            r.GetTextOrNull(5), r.GetFieldValue<DateTimeOffset?>(6), r.GetFieldValue<DateTimeOffset?>(7), r.GetFieldValue<DateTimeOffset?>(8)),
        ct);

    /// <summary>Ends a key for good: on this host at once, on others within seconds.</summary>
    public async Task<RevokedKey> RevokeAsync(string keyId, string actor, CancellationToken ct)
    {
        var revoked = CreditClient.Done(await sql.As(actor).JsonAsync<RevokedKey>("select credits.revoke_api_key($1)", keyId, ct, keyId));
        // Whoever asked before that would still put the old answer in its place.
        Task? asked;
        lock (_asked)
            asked = _asked.GetValueOrDefault(keyId);
        if (asked is not null)
            await asked.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        _checks.Remove(keyId);
        return revoked;
    }

    public void Dispose()
    {
        _checks.Dispose();
        _guesses.Dispose();
    }

    private void LimitGuesses(string keyId, string? guesser)
    {
        if (guesser is null || _known.ContainsKey(keyId))
            return;
        using var lease = _guesses.AttemptAcquire(guesser);
        if (!lease.IsAcquired)
            throw new ProblemException(429, "too_many_requests", "Too many unknown keys came from this address: try again in 1 s.");
    }

    private async Task<KeyCheck?> AskAsync(string keyId)
    {
        try
        {
            var found = await sql.RowsAsync(
                "select scopes, for_user, hash_key, hash from credits.find_api_key($1)",
                null,
                r => new KeyCheck(r.GetFieldValue<string[]>(0), r.GetFieldValue<Guid?>(1), r.GetFieldValue<byte[]>(2), r.GetFieldValue<byte[]>(3)),
                CancellationToken.None, keyId);
            var check = found.SingleOrDefault();
            _checks.Set(keyId, check, new MemoryCacheEntryOptions { AbsoluteExpirationRelativeToNow = Remembered, Size = 1 });
            if (check is null)
                return null;
            _known[keyId] = true;
            await sql.ScalarAsync("select credits.note_api_key_use($1)", null, CancellationToken.None, keyId);
            return check;
        }
        finally
        {
            lock (_asked)
                _asked.Remove(keyId);
        }
    }
}

/// <summary>What the database knows of a key.</summary>
internal sealed record KeyCheck(string[] Scopes, Guid? ForUser, byte[] HashKey, byte[] Hash);

/// <summary>A key that was made now: the only time that it is shown.</summary>
internal sealed record CreatedKey : Outcome
{
    public string KeyId { get; init; } = "";

    public string KeyName { get; init; } = "";

    public string[] Scopes { get; init; } = [];

    public Guid? ForUser { get; init; }

    public DateTimeOffset CreatedAt { get; init; }

    public DateTimeOffset? ExpiresAt { get; init; }

    public string Key { get; init; } = "";
}

/// <summary>A key as operators see it.</summary>
internal sealed record ListedKey(
    string KeyId, string KeyName, string[] Scopes, Guid? ForUser, DateTimeOffset CreatedAt, string? CreatedBy, DateTimeOffset? ExpiresAt,
    DateTimeOffset? RevokedAt, DateTimeOffset? LastUsedAt);

/// <summary>A key that was ended.</summary>
internal sealed record RevokedKey : Outcome
{
    public string KeyId { get; init; } = "";

    public string KeyName { get; init; } = "";

    public DateTimeOffset RevokedAt { get; init; }
}

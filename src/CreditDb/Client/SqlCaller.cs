using System.Data.Common;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.Json.Serialization;
using System.Text.Json.Serialization.Metadata;
using Npgsql;
using NpgsqlTypes;
using Polly;
using Polly.Retry;

namespace CreditDb;

/// <summary>Calls functions of the engine, one statement each: by itself, or within the caller's transaction.</summary>
internal sealed class SqlCaller(NpgsqlDataSource source, NpgsqlTransaction? transaction, string? actor)
{
    /// <summary>Numbers as they come and in snake_case, as the engine writes them.</summary>
    public static readonly JsonSerializerOptions Json = new(JsonSerializerDefaults.General)
    {
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
        TypeInfoResolver = new DefaultJsonTypeInfoResolver(),
    };

    /// <summary>The one place that repeats anything: a call that the engine recognises by its idempotency key, when it may never have been made.</summary>
    private static readonly ResiliencePipeline Retries = new ResiliencePipelineBuilder()
        .AddRetry(new RetryStrategyOptions
        {
            MaxRetryAttempts = 5,
            Delay = TimeSpan.FromMilliseconds(50),
            BackoffType = DelayBackoffType.Exponential,
            UseJitter = true,
            ShouldHandle = new PredicateBuilder().Handle<NpgsqlException>(IsWorthRepeating),
        })
        .Build();

    public SqlCaller In(NpgsqlTransaction other) => new(source, other, actor);

    /// <summary>On whose behalf, kept in every entry; null: nobody's in particular.</summary>
    public string? Actor => actor;

    public SqlCaller As(string? other) => new(source, transaction, other);

    /// <summary>
    /// The jsonb that the statement returns. It is repeated on 40001, 40P01 and lost connections if it has a transaction of its own and a key by which the
    /// engine knows it again: an idempotency key, or the id of the one thing that it opens, settles or completes.
    /// </summary>
    public Task<T> JsonAsync<T>(string sql, string? key, CancellationToken ct, params object?[] arguments) =>
        RunAsync(sql, key, static async (reader, token) =>
        {
            await reader.ReadAsync(token);
            return JsonSerializer.Deserialize<T>(reader.GetString(0), Json)!;
        }, arguments, ct);

    /// <summary>Charges one request by itself.</summary>
    public Task<Charge> ChargeAsync(ChargeRequest request, CancellationToken ct) => JsonAsync<Charge>(
        "select credits.deduct_credits_for_action($1, $2, $3, $4, $5, $6)", request.IdempotencyKey, ct,
        request.UserId, request.ActionType, request.Quantity, request.ReferenceId, request.Metadata ?? [], request.IdempotencyKey);

    /// <summary>Charges many in one call: an outcome each, in their order. Without waiting, those of an account that somebody has locked are busy.</summary>
    public Task<List<Charge>> ChargeTogetherAsync(ReadOnlyMemory<byte> requests, bool haveKeys, bool waits, CancellationToken ct) => RowsAsync(
        """
        select success, code, error, action_type, action_name, required, available, credits_deducted, balance_before, balance_after, log_id, replayed, details
        from credits.deduct_credits_batch($1, $2)
        """,
        haveKeys ? "of each" : null,
        static reader => (reader.IsDBNull(12) ? new Charge() : JsonSerializer.Deserialize<Charge>(reader.GetString(12), Json)!) with
        {
            Success = reader.GetBoolean(0),
            Code = reader.GetString(1),
            Error = reader.IsDBNull(2) ? null : reader.GetString(2),
            ActionType = reader.IsDBNull(3) ? null : reader.GetString(3),
            ActionName = reader.IsDBNull(4) ? null : reader.GetString(4),
            Required = reader.IsDBNull(5) ? null : reader.GetDecimal(5),
            Available = reader.IsDBNull(6) ? null : reader.GetDecimal(6),
            CreditsDeducted = reader.IsDBNull(7) ? 0 : reader.GetDecimal(7),
            BalanceBefore = reader.IsDBNull(8) ? null : reader.GetDecimal(8),
            BalanceAfter = reader.IsDBNull(9) ? null : reader.GetDecimal(9),
            LogId = reader.IsDBNull(10) ? null : reader.GetInt64(10),
            Replayed = !reader.IsDBNull(11) && reader.GetBoolean(11),
        },
        ct, requests, waits);

    public Task<object?> ScalarAsync(string sql, string? key, CancellationToken ct, params object?[] arguments) =>
        RunAsync(sql, key, async (reader, token) => await reader.ReadAsync(token) ? reader.GetValue(0) : null, arguments, ct);

    public Task<List<T>> RowsAsync<T>(string sql, string? key, Func<DbDataReader, T> read, CancellationToken ct, params object?[] arguments) =>
        RunAsync(sql, key, async (reader, token) =>
        {
            var rows = new List<T>();
            while (await reader.ReadAsync(token))
                rows.Add(read(reader));
            return rows;
        }, arguments, ct);

    private async Task<T> RunAsync<T>(
        string sql, string? key, Func<DbDataReader, CancellationToken, Task<T>> read, object?[] arguments, CancellationToken ct)
    {
        var tries = 0;
        async ValueTask<T> OnceAsync(CancellationToken token)
        {
            if (tries++ > 0)
                Measures.Repeated(sql);

            // A batch is one transaction and one round trip: the actor is set for the statement alone.
            await using var batch = transaction is null ? source.CreateBatch() : new NpgsqlBatch(transaction.Connection, transaction);
            if (actor is not null)
                batch.BatchCommands.Add(Command("select set_config('credits.actor', $1, true)", actor));
            batch.BatchCommands.Add(Command(sql, arguments));
            try
            {
                await using var reader = await batch.ExecuteReaderAsync(token);
                if (actor is not null)
                    await reader.NextResultAsync(token);
                return await read(reader, token);
            }
            catch (PostgresException e) when (CreditException.From(e) is { } refused)
            {
                throw refused;
            }
        }

        var started = Measures.Start();
        try
        {
            var result = key is not null && transaction is null ? await Retries.ExecuteAsync(OnceAsync, ct) : await OnceAsync(ct);
            Measures.Returned(started, sql, result);
            return result;
        }
        catch (Exception e) when (Measures.Failed(started, sql, e))
        {
            throw;
        }
    }

    private static NpgsqlBatchCommand Command(string sql, params object?[] arguments)
    {
        var command = new NpgsqlBatchCommand(sql);
        foreach (var argument in arguments)
            command.Parameters.Add(Parameter(argument));
        return command;
    }

    /// <summary>40001, 40P01, and what a lost connection comes as: an error of the network, of class 08, or the server's word that it is going or coming.</summary>
    private static bool IsWorthRepeating(NpgsqlException error) => error.SqlState switch
    {
        null => error.IsTransient,
        PostgresErrorCodes.SerializationFailure or PostgresErrorCodes.DeadlockDetected => true,
        PostgresErrorCodes.AdminShutdown or PostgresErrorCodes.CrashShutdown or PostgresErrorCodes.CannotConnectNow => true,
        var state => state.StartsWith("08", StringComparison.Ordinal),
    };

    private static NpgsqlParameter Parameter(object? value) => value switch
    {
        null => new NpgsqlParameter { Value = DBNull.Value },
        JsonNode json => new NpgsqlParameter { Value = json.ToJsonString(), NpgsqlDbType = NpgsqlDbType.Jsonb },
        ReadOnlyMemory<byte> json => new NpgsqlParameter { Value = json, NpgsqlDbType = NpgsqlDbType.Jsonb },
        DateTimeOffset moment => new NpgsqlParameter { Value = moment.UtcDateTime },
        _ => new NpgsqlParameter { Value = value },
    };
}

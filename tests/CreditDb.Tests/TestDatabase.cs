using System.Globalization;
using System.Text.Json;
using Npgsql;
using NpgsqlTypes;

namespace CreditDb.Tests;

/// <summary>
/// A migrated database of its own for a test class, cloned from the run's template. When the class is done, the ledger must still verify.
/// </summary>
public sealed class TestDatabase(TestServer server) : IAsyncLifetime
{
    private NpgsqlDataSource? _source;

    public string ConnectionString { get; private set; } = "";

    public NpgsqlDataSource Source => _source ?? throw new InvalidOperationException("The database is not there yet.");

    /// <summary>Set by a test that damages the books on purpose.</summary>
    public bool BooksAreDamaged { get; set; }

    public async ValueTask InitializeAsync()
    {
        ConnectionString = await server.CloneTemplateAsync();
        _source = NpgsqlDataSource.Create(ConnectionString);
    }

    public async ValueTask DisposeAsync()
    {
        if (!BooksAreDamaged)
            Assert.Empty(await Column<string>("select user_id || ' ' || problem || ': expected ' || expected || ', actual ' || actual from credits.verify_ledger()"));
        await Source.DisposeAsync();
        await server.DropAsync(ConnectionString);
    }

    public async Task<int> Run(string sql, params object?[] arguments)
    {
        await using var connection = await Source.OpenConnectionAsync();
        return await connection.Run(sql, arguments);
    }

    public async Task<T> Value<T>(string sql, params object?[] arguments)
    {
        await using var connection = await Source.OpenConnectionAsync();
        return await connection.Value<T>(sql, arguments);
    }

    public async Task<JsonElement> Json(string sql, params object?[] arguments)
    {
        await using var connection = await Source.OpenConnectionAsync();
        return await connection.Json(sql, arguments);
    }

    public async Task<List<T>> Column<T>(string sql, params object?[] arguments)
    {
        await using var connection = await Source.OpenConnectionAsync();
        return await connection.Column<T>(sql, arguments);
    }

    public async Task<PostgresException> Fails(string sqlState, string sql, params object?[] arguments)
    {
        var error = await Assert.ThrowsAsync<PostgresException>(() => Run(sql, arguments));
        Assert.Equal(sqlState, error.SqlState);
        return error;
    }

    /// <summary>An account on a plan without allowance, with exactly these purchased credits.</summary>
    public async Task<Guid> Account(decimal credits = 0)
    {
        var user = Guid.NewGuid();
        await Run("select credits.open_account($1, 'paid')", user);
        if (credits > 0)
            await Run("select credits.add_purchased_credits($1, $2)", user, credits);
        return user;
    }

    public Task<decimal> Balance(Guid user, string creditType = "credits") =>
        Value<decimal>("select (credits.get_credit_balance($1, $2) ->> 'total')::numeric", user, creditType);

    public Task<long> Charges(Guid user) =>
        Value<long>("select count(*) from credits.credit_usage_logs where user_id = $1", user);

    /// <summary>Everything the engine stores about a user, as text: what a refused operation must not change.</summary>
    public async Task<string> Snapshot(Guid user)
    {
        await using var connection = await Source.OpenConnectionAsync();
        return await Snapshot(connection, user);
    }

    public static Task<string> Snapshot(NpgsqlConnection connection, Guid user) => connection.Value<string>(
        """
        select concat_ws(E'\n',
          (select string_agg(a::text, E'\n') from credits.accounts a where user_id = $1),
          (select string_agg(w::text, E'\n' order by credit_type) from credits.wallets w where user_id = $1),
          (select string_agg(g::text, E'\n' order by credit_type, grant_no) from credits.stored_grants g where user_id = $1),
          (select string_agg(l::text, E'\n' order by credit_type, entry_no) from credits.credit_ledger l where user_id = $1),
          (select string_agg(k::text, E'\n' order by source, key) from credits.charge_keys k where user_id = $1),
          (select string_agg(u::text, E'\n' order by source, row_id) from credits.uncharged_rows u where user_id = $1),
          (select string_agg(r::text, E'\n' order by reservation_id) from credits.credit_reservations r where user_id = $1),
          (select string_agg(f::text, E'\n' order by credit_type, log_id, refund_no) from credits.credit_refunds f where user_id = $1),
          (select string_agg(p::text, E'\n' order by purchase_id) from credits.credit_purchases p where user_id = $1),
          (select string_agg(f::text, E'\n' order by purchase_id, refund_no) from credits.credit_purchase_refunds f where user_id = $1),
          (select string_agg(c::text, E'\n' order by action_type, period, period_no) from credits.usage_counters c where user_id = $1),
          (select string_agg(t::text, E'\n' order by attempt_id) from credits.usage_attempts t where user_id = $1),
          (select string_agg(d::text, E'\n' order by day, credit_type, action_type, period_no) from credits.usage_daily d where user_id = $1),
          (select string_agg(r::text, E'\n' order by credit_type) from credits.usage_rollups r where user_id = $1),
          (select string_agg(s::text, E'\n' order by session_id) from credits.chat_sessions s where user_id = $1),
          (select string_agg(a::text, E'\n' order by credit_type, entry_no) from credits.credit_ledger_archive a where user_id = $1),
          (select string_agg(i::text, E'\n' order by import_no) from credits.imported_usage i where user_id = $1),
          (select string_agg(d::text, E'\n' order by credit_type, hour) from credits.decline_counts d where user_id = $1),
          (select string_agg(a::text, E'\n' order by alert_id) from credits.alerts a where user_id = $1),
          (select string_agg(d::text, E'\n' order by delivery_id) from credits.webhook_deliveries d where user_id = $1),
          (select string_agg(n::text, E'\n' order by notification_id) from credits.notifications n where user_id = $1))
        """, user);

    /// <summary>Stops this database's clock at a moment.</summary>
    public Task SetClock(string moment) => Run(
        $"create or replace function credits.clock_now() returns timestamptz language plpgsql volatile set search_path = pg_catalog, pg_temp as $$ begin return timestamptz '{moment}'; end $$");
}

public static class SqlExtensions
{
    public static async Task<int> Run(this NpgsqlConnection connection, string sql, params object?[] arguments)
    {
        await using var command = connection.Command(sql, arguments);
        return await command.ExecuteNonQueryAsync();
    }

    public static async Task<T> Value<T>(this NpgsqlConnection connection, string sql, params object?[] arguments)
    {
        await using var command = connection.Command(sql, arguments);
        var value = await command.ExecuteScalarAsync();
        return value is null or DBNull ? default! : (T)value;
    }

    public static async Task<JsonElement> Json(this NpgsqlConnection connection, string sql, params object?[] arguments) =>
        JsonDocument.Parse(await connection.Value<string>(sql, arguments)).RootElement;

    public static async Task<List<T>> Column<T>(this NpgsqlConnection connection, string sql, params object?[] arguments)
    {
        await using var command = connection.Command(sql, arguments);
        await using var reader = await command.ExecuteReaderAsync();
        var values = new List<T>();
        while (await reader.ReadAsync())
            values.Add(await reader.GetFieldValueAsync<T>(0));
        return values;
    }

    private static NpgsqlCommand Command(this NpgsqlConnection connection, string sql, object?[] arguments)
    {
        var command = new NpgsqlCommand(sql, connection);
        // Text goes as an untyped literal would, so that it can be a jsonb, a name or a number too.
        foreach (var argument in arguments)
            command.Parameters.Add(argument is string or null
                ? new NpgsqlParameter { Value = argument ?? (object)DBNull.Value, NpgsqlDbType = NpgsqlDbType.Unknown }
                : new NpgsqlParameter { Value = argument });
        return command;
    }

    public static string Text(this JsonElement element, string property) =>
        element.GetProperty(property) is { ValueKind: not JsonValueKind.Null } value ? value.ToString() : "";

    public static decimal Number(this JsonElement element, string property) =>
        decimal.Parse(element.GetProperty(property).GetRawText(), CultureInfo.InvariantCulture);

    public static bool Flag(this JsonElement element, string property) => element.GetProperty(property).GetBoolean();
}

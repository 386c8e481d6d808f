using Npgsql;

namespace CreditDb;

/// <summary>
/// The engine's functions, each one call of one SQL function: no rule lives here. Amounts are credits, quantities are priced units, both with up to six
/// decimals. A method that charges throws when it is declined; its Try… sister returns the outcome. All throw <see cref="CreditException"/> for what the
/// engine refuses, and <see cref="NpgsqlException"/> for what the database cannot do. A call with an idempotency key is repeated on serialization
/// failures, deadlocks and lost connections; without one, that is the caller's to decide. Safe for use by many threads.
/// </summary>
public sealed partial class CreditClient
{
    private readonly SqlCaller _sql;

    /// <summary>Null within a caller's transaction, where every call is made by itself.</summary>
    private readonly ChargeLanes? _lanes;

    /// <summary>
    /// A client of the database that the data source connects to. With "No Reset On Close=true" in its connection string it charges up to three times as
    /// fast: Npgsql else has PostgreSQL forget the plans of the engine's functions whenever a pooled connection is used again (DISCARD ALL).
    /// </summary>
    public CreditClient(NpgsqlDataSource dataSource)
        : this(new SqlCaller(dataSource, null, null))
    {
    }

    internal CreditClient(SqlCaller sql)
        : this(sql, new ChargeLanes(sql))
    {
    }

    private CreditClient(SqlCaller sql, ChargeLanes? lanes) => (_sql, _lanes) = (sql, lanes);

    /// <summary>The same client within the caller's transaction: what it does is done when that commits, and undone when it rolls back. Nothing is repeated.</summary>
    public CreditClient In(NpgsqlTransaction transaction) => new(_sql.In(transaction), null);

    /// <summary>The same client on behalf of somebody, who is kept in every entry as its actor (up to 255 characters).</summary>
    public CreditClient As(string actor) => new(_sql.As(actor), _lanes);

    internal static T Done<T>(T outcome)
        where T : Outcome => outcome.Success ? outcome : throw CreditException.From(outcome);
}

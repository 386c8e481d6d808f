using Npgsql;

namespace CreditDb;

/// <summary>Connections that nobody but CreditDb uses.</summary>
internal static class EngineConnections
{
    /// <summary>
    /// Errors carry the engine's details. No call leaves anything in its session, so none is reset between calls: the reset (DISCARD ALL) would also throw
    /// away the plans of the engine's functions, and a charge would plan anew each time, which takes longer than charging.
    /// </summary>
    /// <param name="settings">Where to connect.</param>
    /// <param name="name">What metrics call the pool; without one they would show the connection string.</param>
    public static NpgsqlDataSource Create(NpgsqlConnectionStringBuilder settings, string? name = null)
    {
        var own = new NpgsqlConnectionStringBuilder(settings.ConnectionString) { IncludeErrorDetail = true, NoResetOnClose = true };
        return new NpgsqlDataSourceBuilder(own.ConnectionString) { Name = name }.Build();
    }
}

using Microsoft.Extensions.Configuration;
using Npgsql;

namespace CreditDb.Host.Commands;

/// <summary>The command line or its settings are wrong; the message tells how, and never contains a password.</summary>
internal sealed class UsageException(string message) : Exception(message);

internal static class ConnectionSettings
{
    /// <summary>The connection string: the option, else ConnectionStrings__CreditDb or appsettings.json.</summary>
    public static NpgsqlConnectionStringBuilder Resolve(string? option)
    {
        var text = option ?? Configured();
        if (string.IsNullOrWhiteSpace(text))
            throw new UsageException("No database: give --connection, set ConnectionStrings__CreditDb, or put ConnectionStrings:CreditDb in appsettings.json.");
        try
        {
            var settings = new NpgsqlConnectionStringBuilder(text);
            return settings.Host is null ? throw new UsageException("The connection string names no Host.") : settings;
        }
        catch (ArgumentException)
        {
            // The parser quotes what it does not understand, and that may be half a password.
            throw new UsageException("The connection string is not valid. It looks like Host=…;Database=…;Username=…;Password=…; a password with ; or = needs quotes.");
        }
    }

    private static string? Configured() => new ConfigurationBuilder()
        .SetBasePath(Directory.GetCurrentDirectory())
        .AddJsonFile("appsettings.json", optional: true)
        .AddEnvironmentVariables()
        .Build()
        .GetConnectionString("CreditDb");
}

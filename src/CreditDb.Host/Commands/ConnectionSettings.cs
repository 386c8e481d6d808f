using CreditDb.Host.PrivatePostgres;
using Npgsql;

namespace CreditDb.Host.Commands;

/// <summary>The command line or its settings are wrong; the message tells how, and never contains a password.</summary>
internal sealed class UsageException(string message) : Exception(message);

internal static class ConnectionSettings
{
    /// <summary>The connection string: the option, else ConnectionStrings__CreditDb or appsettings.json, else the private server that runs.</summary>
    public static NpgsqlConnectionStringBuilder Resolve(string? option)
    {
        var configuration = new HostApplicationBuilder().Configuration;
        var folder = DataFolder.From(configuration);
        string?[] choices = [option, configuration.GetConnectionString("CreditDb"), PrivateServer.FindRunning(folder)];
        var text = choices.FirstOrDefault(choice => !string.IsNullOrWhiteSpace(choice)) ?? throw new UsageException(
            $"""
            No database: no private server runs under {folder}, and none is named.
            Start one in another terminal (dotnet run --project src/CreditDb.Host), or give --connection or ConnectionStrings__CreditDb.
            """);
        return Parse(text);
    }

    /// <summary>Reads a connection string, or a URL.</summary>
    public static NpgsqlConnectionStringBuilder Parse(string text)
    {
        try
        {
            var settings = ConnectionText.Parse(text);
            return settings.Host is null ? throw new UsageException("The connection string names no Host.") : settings;
        }
        catch (ArgumentException)
        {
            // The parser quotes what it does not understand, and that may be half a password.
            throw new UsageException("The connection string is not valid. It looks like Host=…;Database=…;Username=…;Password=… (a password with ; or = needs quotes) or postgresql://user:password@host:port/database.");
        }
    }
}

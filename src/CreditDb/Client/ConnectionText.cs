using Npgsql;

namespace CreditDb;

/// <summary>How a database is named: by a connection string, or by a URL as psql takes it.</summary>
internal static class ConnectionText
{
    public static NpgsqlConnectionStringBuilder Parse(string text) =>
        text.StartsWith("postgres", StringComparison.Ordinal) && Uri.TryCreate(text, UriKind.Absolute, out var url) ? FromUrl(url) : new NpgsqlConnectionStringBuilder(text);

    private static NpgsqlConnectionStringBuilder FromUrl(Uri url)
    {
        var user = url.UserInfo.Split(':', 2);
        return new NpgsqlConnectionStringBuilder
        {
            Host = url.Host,
            Port = url.Port < 0 ? NpgsqlConnection.DefaultPort : url.Port,
            Username = Uri.UnescapeDataString(user[0]),
            Password = user.Length > 1 ? Uri.UnescapeDataString(user[1]) : null,
            Database = Uri.UnescapeDataString(url.AbsolutePath.TrimStart('/')),
        };
    }
}

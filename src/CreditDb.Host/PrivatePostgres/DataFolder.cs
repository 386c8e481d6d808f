namespace CreditDb.Host.PrivatePostgres;

/// <summary>Where kept servers and fetched binaries live.</summary>
public static class DataFolder
{
    /// <summary>The setting CREDITDB_DATA, else a folder of the system for root, else the user's own data folder.</summary>
    public static string From(IConfiguration configuration)
    {
        if (configuration["CREDITDB_DATA"] is { Length: > 0 } configured)
            return Path.GetFullPath(configured);

        // The server runs as another user then, who cannot enter root's home.
        if (ServerUser.IsAnother)
            return "/var/lib/creditdb";

        var option = Environment.SpecialFolderOption.DoNotVerify;
        return Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.LocalApplicationData, option), "creditdb");
    }
}

namespace CreditDb.Tests;

internal static class TestFolder
{
    /// <summary>A temporary folder that other users can enter, as the server's user must when the tests run as root.</summary>
    public static string Create()
    {
        var folder = Directory.CreateTempSubdirectory("creditdb-test-").FullName;
        LetEveryoneRunOrEnter(folder);
        return folder;
    }

    public static void LetEveryoneRunOrEnter(string path)
    {
        if (!OperatingSystem.IsWindows())
            File.SetUnixFileMode(path, (UnixFileMode)Convert.ToInt32("755", 8));
    }
}

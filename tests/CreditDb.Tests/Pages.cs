namespace CreditDb.Tests;

/// <summary>Files of the repository that a test compares with what the database says.</summary>
internal static class Pages
{
    public static readonly string Repository = Path.GetFullPath(Path.Combine(AppContext.BaseDirectory, "../../../../.."));

    /// <summary>Fails where the file says something else; writes it instead if CREDITDB_WRITE_PAGES is set.</summary>
    public static async Task IsAsync(string path, string text)
    {
        var file = Path.Combine(Repository, path);
        if (Environment.GetEnvironmentVariable("CREDITDB_WRITE_PAGES") is { Length: > 0 })
            await File.WriteAllTextAsync(file, text, TestContext.Current.CancellationToken);
        var stored = File.Exists(file) ? await File.ReadAllTextAsync(file, TestContext.Current.CancellationToken) : "";
        if (stored == text)
            return;
        string[] expected = stored.Split('\n'), actual = text.Split('\n');
        var line = expected.Zip(actual).TakeWhile(pair => pair.First == pair.Second).Count();
        Assert.Fail(
            $"""
            {path} is not current from line {line + 1} on. Where the change is meant, write the pages anew and read the difference:
              CREDITDB_WRITE_PAGES=1 dotnet test CreditDb.sln --filter "FullyQualifiedName~SqlReferenceTests|FullyQualifiedName~ExampleTests"
            It says    {expected.ElementAtOrDefault(line)}
            should say {actual.ElementAtOrDefault(line)}
            """);
    }
}

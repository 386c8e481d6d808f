using System.Diagnostics;

namespace CreditDb.Tests;

/// <summary>Programs that a test needs and a machine may lack.</summary>
internal static class Tools
{
    // As it is named on PATH: Debian's pg_dump and psql are links to a wrapper that goes by that name.
    public static string? Find(string program, params string?[] folders) => folders
        .Concat((Environment.GetEnvironmentVariable("PATH") ?? "").Split(Path.PathSeparator))
        .Where(folder => !string.IsNullOrEmpty(folder))
        .Select(folder => Path.Combine(folder!, program))
        .FirstOrDefault(File.Exists);

    public static async Task<string> RunAsync(string program, params string[] arguments)
    {
        using var process = Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardOutput = true, RedirectStandardError = true })!;
        var error = process.StandardError.ReadToEndAsync();
        var output = await process.StandardOutput.ReadToEndAsync();
        await process.WaitForExitAsync();
        Assert.True(process.ExitCode == 0, $"{program}: {await error}");
        return output;
    }
}

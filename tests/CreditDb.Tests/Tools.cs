using System.Diagnostics;
using CreditDb.Host.PrivatePostgres;
using Microsoft.Extensions.Configuration;

namespace CreditDb.Tests;

/// <summary>Programs that a test needs and a machine may lack.</summary>
internal static class Tools
{
    private static readonly PostgresSearch Search = PostgresSearch.From(new ConfigurationBuilder().AddEnvironmentVariables().Build());

    public static string? Find(string program, string? folder = null) =>
        folder is not null && File.Exists(Path.Combine(folder, program)) ? Path.Combine(folder, program) : Search.FindOnPath(program);

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

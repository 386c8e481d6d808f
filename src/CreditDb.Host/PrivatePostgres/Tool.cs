using System.ComponentModel;
using System.Diagnostics;

namespace CreditDb.Host.PrivatePostgres;

/// <summary>Runs a program to its end and returns what it printed.</summary>
internal static class Tool
{
    public static string Executable(string name) => OperatingSystem.IsWindows() ? name + ".exe" : name;

    public static async Task<(int ExitCode, string Output)> RunAsync(
        IReadOnlyList<string> command, string workingFolder, CancellationToken ct)
    {
        using var process = new Process
        {
            StartInfo = new ProcessStartInfo(command[0], command.Skip(1))
            {
                WorkingDirectory = workingFolder,
                RedirectStandardInput = true,
                RedirectStandardOutput = true,
                RedirectStandardError = true,
            },
        };
        try
        {
            process.Start();
        }
        catch (Win32Exception e)
        {
            return (-1, e.Message);
        }

        process.StandardInput.Close();
        try
        {
            var output = process.StandardOutput.ReadToEndAsync(ct);
            var error = process.StandardError.ReadToEndAsync(ct);
            await process.WaitForExitAsync(ct);
            return (process.ExitCode, (await output + await error).Trim());
        }
        catch (OperationCanceledException)
        {
            process.Kill(entireProcessTree: true);
            throw;
        }
    }
}

using System.Diagnostics;
using CreditDb.Host.PrivatePostgres;

namespace CreditDb.Tests;

/// <summary>The built host in a process of its own.</summary>
internal sealed class HostProcess : IDisposable
{
    private readonly Process _process;
    private readonly Task<string> _error;
    private readonly Task<string> _output;
    private readonly List<string> _lines = [];

    private HostProcess(Process process)
    {
        _process = process;
        _error = process.StandardError.ReadToEndAsync();
        _output = ReadOutputAsync();
    }

    public static async Task<(int ExitCode, string Output, string Error)> RunAsync(
        IReadOnlyList<string> arguments, string? input = null, IReadOnlyDictionary<string, string?>? environment = null)
    {
        using var host = Start(arguments, environment);
        await host._process.StandardInput.WriteAsync(input);
        host._process.StandardInput.Close();
        return await host.EndAsync();
    }

    public static HostProcess Start(IReadOnlyList<string> arguments, IReadOnlyDictionary<string, string?>? environment = null)
    {
        var start = new ProcessStartInfo("dotnet", [typeof(PrivateServer).Assembly.Location, .. arguments])
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        start.Environment.Remove("ConnectionStrings__CreditDb");
        start.Environment["DOTNET_TieredPGO"] = "0";
        start.Environment["URLS"] = "http://127.0.0.1:0";
        foreach (var (name, value) in environment ?? new Dictionary<string, string?>())
            start.Environment[name] = value;
        return new HostProcess(Process.Start(start)!);
    }

    public async Task WaitForLineAsync(string part) => await Eventually.TrueAsync(
        () =>
        {
            Assert.False(_process.HasExited && _output.IsCompleted, _error.IsCompleted ? _error.Result : "The host ended.");
            lock (_lines)
                return _lines.Any(line => line.Contains(part, StringComparison.Ordinal));
        },
        $"The host did not print '{part}'.");

    /// <summary>Where the host listens, once it does.</summary>
    public async Task<Uri> AddressAsync()
    {
        const string start = "  HTTP     ";
        await WaitForLineAsync(start);
        lock (_lines)
            return new Uri(_lines.First(line => line.StartsWith(start, StringComparison.Ordinal))[start.Length..]);
    }

    public void Kill() => _process.Kill();

    public async Task<(int ExitCode, string Output, string Error)> EndAsync()
    {
        await _process.WaitForExitAsync().WaitAsync(TimeSpan.FromSeconds(60));
        return (_process.ExitCode, await _output, await _error);
    }

    /// <summary>Asks the host to stop, as a service manager does.</summary>
    public async Task<(int ExitCode, string Output, string Error)> TerminateAsync()
    {
        using var kill = Process.Start("kill", ["-TERM", $"{_process.Id}"]);
        await kill.WaitForExitAsync();
        return await EndAsync();
    }

    public void Dispose()
    {
        if (!_process.HasExited)
            _process.Kill();
        _process.Dispose();
    }

    private async Task<string> ReadOutputAsync()
    {
        while (await _process.StandardOutput.ReadLineAsync() is { } line)
        {
            lock (_lines)
                _lines.Add(line);
        }

        return string.Join('\n', _lines);
    }
}

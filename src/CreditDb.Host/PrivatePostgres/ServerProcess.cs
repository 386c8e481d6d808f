using System.Diagnostics;
using System.Globalization;
using System.IO.Pipes;

namespace CreditDb.Host.PrivatePostgres;

/// <summary>A running postmaster that stops when this process does, however it ends.</summary>
internal sealed class ServerProcess : IAsyncDisposable
{
    // The end of standard input, which comes even after kill -9 of this process, stops the server (INT: fast shutdown).
    private const string Guard = """
        trap '' INT TERM HUP
        leftovers=$1; shift
        exec 3<&0 </dev/null
        "$@" 3<&- >&2 & server=$!
        echo $server
        { cat <&3; kill -INT $server; } >/dev/null 2>&1 & guard=$!
        exec 3<&- >/dev/null
        wait $server; code=$?
        kill -9 $guard 2>/dev/null
        [ -z "$leftovers" ] || [ $code -ne 0 ] || rm -rf "$leftovers"
        exit $code
        """;

    private static readonly TimeSpan StopLimit = TimeSpan.FromSeconds(60);

    private readonly Process _process;
    private readonly IDisposable? _job;

    private ServerProcess(Process process, int postmaster, IDisposable? job) =>
        (_process, Postmaster, _job, Exited) = (process, postmaster, job, process.WaitForExitAsync());

    public int Postmaster { get; }

    public Task Exited { get; }

    /// <param name="command">postgres and its arguments.</param>
    /// <param name="workingFolder">A folder that the server's user can enter.</param>
    /// <param name="leftovers">Removed after an orderly end of the server, even if this process is gone by then.</param>
    /// <param name="log">Takes the server's standard error.</param>
    /// <param name="ct">Gives up the start.</param>
    public static async Task<ServerProcess> StartAsync(
        IReadOnlyList<string> command, string workingFolder, string? leftovers, ServerLog log, CancellationToken ct)
    {
        if (!OperatingSystem.IsWindows())
        {
            string[] guarded = ["sh", "-c", Guard, "sh", leftovers ?? "", .. ServerUser.Command(command)];

            // Ctrl+C reaches the whole foreground group; in a session of its own the server outlives its last clients.
            command = OperatingSystem.IsLinux() ? ["setsid", .. guarded] : guarded;
        }

        var process = new Process
        {
            StartInfo = new ProcessStartInfo(command[0], command.Skip(1))
            {
                WorkingDirectory = workingFolder,
                RedirectStandardInput = true,
                RedirectStandardOutput = true,
                RedirectStandardError = true,
            },
        };
        process.ErrorDataReceived += (_, e) =>
        {
            if (e.Data is not null)
                log.Append(e.Data);
        };
        process.Start();
        process.BeginErrorReadLine();

        if (OperatingSystem.IsWindows())
            return new ServerProcess(process, process.Id, WindowsJob.Around(process));
        var postmaster = await process.StandardOutput.ReadLineAsync(ct);
        return new ServerProcess(process, int.Parse(postmaster ?? "0", CultureInfo.InvariantCulture), null);
    }

    public async ValueTask DisposeAsync()
    {
        try
        {
            if (OperatingSystem.IsWindows())
                await InterruptAsync();
            _process.StandardInput.Close();
            await Exited.WaitAsync(StopLimit);
        }
        catch (Exception e) when (e is TimeoutException or IOException)
        {
            _process.Kill(entireProcessTree: true);
            await Exited;
        }

        _job?.Dispose();
        _process.Dispose();
    }

    // PostgreSQL's stand-in for signals on Windows. Not tested: there was no Windows to try it on.
    private async Task InterruptAsync()
    {
        if (_process.HasExited)
            return;
        await using var pipe = new NamedPipeClientStream(".", $"pgsignal_{Postmaster}", PipeDirection.InOut);
        await pipe.ConnectAsync(StopLimit, CancellationToken.None);
        pipe.WriteByte(2);
        await pipe.FlushAsync();
    }
}
